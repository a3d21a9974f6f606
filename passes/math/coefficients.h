/* Coefficients of passes/math: made by tools/math/minimax.py, which see; not edited by hand.
 *
 * Lowest power first. An error is the largest relative one of the function, before the rounding of
 * the arithmetic.
 */
#ifndef INGOT_PASSES_MATH_COEFFICIENTS_H
#define INGOT_PASSES_MATH_COEFFICIENTS_H

/* (exp(r) - 1 - r) / r^2, |r| <= ln(2)/2; error 2^-28.2 */
static const float exp_tail[] = {
    0.49999994f, 0.166665167f, 0.0416681021f, 0.00836919248f, 0.00138389017f,
};

/* ln(2), in parts; the rest is 5.5e-14 */
static const float ln2[] = {0.693145752f, 1.42860677e-06f};

/* 2^r, |r| <= 1/2, 1 at 0; error 2^-27.5 */
static const float exp2_whole[] = {
    1.0f, 0.693147242f, 0.240226552f, 0.0555027239f, 0.00961706322f, 0.00134182035f, 0.00015820509f,
};

/* The same; absolute; error 2^-18.5 */
static const float exp2_short[] = {
    1.0f, 0.693119824f, 0.240225881f, 0.0559314303f, 0.00964776613f,
};

/* 2^r, |r| <= 1/2; error 2^-22.9 */
static const float exp2_near[] = {
    1.00000012f, 0.693147421f, 0.240219191f, 0.055497475f, 0.00968449283f, 0.00136327383f,
};

/* (log(1 + f) - f + f^2/2) / f^3, sqrt(1/2) <= 1 + f <= sqrt(2); error 2^-29.8 */
static const float log_tail[] = {
    0.333333135f,  -0.250000149f, 0.200020611f,  -0.166676268f, 0.142204404f,
    -0.124132805f, 0.11889638f,   -0.116264611f, 0.0668018907f,
};

/* (tanh(x) - x) / x^3 in x^2, |x| <= 0.625; error 2^-27.7 */
static const float tanh_tail[] = {
    -0.333332807f, 0.133314058f, -0.0537365153f, 0.0206281673f, -0.00569229666f,
};

/* erf(x) / x - 1 in x^2, |x| <= 0.8; error 2^-28.0 */
static const float erf_near[] = {
    0.128379166f, -0.376126081f, 0.112831622f, -0.0268222429f, 0.00508692581f, -0.000654337637f,
};

/* log2(1 - erf(x)), 0.8 <= x <= 4; error 2^-28.5 */
static const float erf_far[] = {
    -8.20170681e-05f, -1.62775147f,    -0.91775912f,    -0.151304588f,
    0.0327453427f,    -0.00456594862f, 0.000301084947f,
};

/* log2((1 - erf(x / sqrt 2)) / 2), 0 <= x <= 5.6; of that without log2, times max(x, 1/2); error
 * 2^-26.4 */
static const float gelu_tail[] = {
    -0.99999994f,     -1.15110815f,     -0.459182858f,   -0.0525763296f,   0.00718358951f,
    -0.000231685408f, -0.000146013175f, 3.07590271e-05f, -2.10377584e-06f,
};

/* (sin(r) - r) / r^3 in r^2, |r| <= pi/4; error 2^-32.5 */
static const float sin_tail[] = {
    -0.166666672f,
    0.0083333794f,
    -0.000198530644f,
    2.83251006e-06f,
};

/* (cos(r) - 1 + r^2/2) / r^4 in r^2, |r| <= pi/4; error 2^-30.7 */
static const float cos_tail[] = {
    0.0416666605f,
    -0.0013888065f,
    2.45177016e-05f,
};

/* pi/2, in parts; the rest is 1.1e-23 */
static const float half_pi[] = {1.57079637f, -4.37113883e-08f, -1.71512451e-15f};

#endif
