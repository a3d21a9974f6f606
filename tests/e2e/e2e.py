#!/usr/bin/env python3
"""Compile and run, end to end: e2e.py INGOT SOURCE_DIR [TEST..]

Every test is a function named test_*; each works in a folder of its own and fails by an assertion. Standard library
only. The model is the small one under examples/."""
import concurrent.futures
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import pty
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import traceback

INGOT, SOURCE = "", ""
MODEL = ""
SHARED = {}  # programs that several tests use


def run(*command, ok=True, **kw):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **kw)
    if ok:
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr[-1500:]}"
    return done


def compile_to(out, *options, model=None, **kw):
    return run(INGOT, "compile", model or MODEL, "-o", out, "-q", *options, **kw)


def program(*options):
    """A program of the example model with these options, compiled once."""
    if options not in SHARED:
        path = os.path.join(SHARED["folder"], f"app{len(SHARED)}")
        compile_to(path, *options)
        SHARED[options] = path
    return SHARED[options]


def write_ids(path, rows, mask=None):
    def tensor(rows):
        return struct.pack(f"<{len(rows) * len(rows[0])}q", *[i for row in rows for i in row])
    shape, size = [len(rows), len(rows[0])], 8 * len(rows) * len(rows[0])
    header = {"input_ids": {"dtype": "I64", "shape": shape, "data_offsets": [0, size]}}
    body = tensor(rows)
    if mask:
        header["attention_mask"] = {"dtype": "I64", "shape": shape, "data_offsets": [size, 2 * size]}
        body += tensor(mask)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def read_floats(path):
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    tensor = header["logits"]
    start, end = tensor["data_offsets"]
    return tensor["shape"], data[8 + size + start:8 + size + end]


def sample_ids(n, seed=1, vocab=512):
    x, ids = seed, []
    for _ in range(n):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        ids.append((x >> 33) % vocab)
    return ids


def logits(app, folder, rows, *options, mask=None):
    write_ids(f"{folder}/in.safetensors", rows, mask)
    run(app, "tensors", "--in", f"{folder}/in.safetensors", "--out", f"{folder}/out.safetensors", *options)
    return read_floats(f"{folder}/out.safetensors")


def levels(app):
    """The ISA levels of the program that this machine runs."""
    names = json.loads(run(app, "card").stdout)["levels"]
    return [n for n in names if run(app, "generate", "--ids", "1", "-n", "1", "--cpu", n, ok=False).returncode == 0]


# ---- answers ----

QUESTIONS = {
    "What colour is copper?": "Copper is red.",
    "When does tin melt?": "Tin melts at 232 degrees.",
    "Which is heavier, gold or iron?": "Gold is heavier than iron.",
    "What is 3 plus 4?": "3 plus 4 is 7.",
    "What is nine plus eight?": "Nine plus eight is seventeen.",
    "Which metal has the symbol Pb?": "Pb is the symbol of lead.",
}


def test_answers(folder):
    for options in ((), ("--act", "i8"), ("--quant", "none", "--act", "f32"), ("--quant", "q4_0"), ("--kv", "f32"), ("--kv", "f16"), ("--kv", "q8_0")):
        for question, answer in QUESTIONS.items():
            said = run(program(*options), "--temp", "0", question).stdout.strip()
            assert said == answer, f"{options}: {question} -> {said}"


def test_json_and_stop(folder):
    out = json.loads(run(program(), "--temp", "0", "--json", "What colour is gold?").stdout)
    assert out["text"] == "Gold is yellow." and out["ids"], out
    out = run(program(), "--temp", "0", "--stop", "yell", "What colour is gold?").stdout
    assert out.strip() == "Gold is", out


def test_seed(folder):
    def say(seed):
        return run(program(), "--raw", "--temp", "2.5", "--seed", seed, "-n", "24", "What").stdout
    assert say(7) == say(7) and len({say(s) for s in range(6)}) > 1


def test_memory_calls(folder):
    """Between the first token and the last the system is asked for no memory; prefill's scratch is given back once."""
    ids, trace = ",".join(str(3 + i % 200) for i in range(300)), f"{folder}/trace"
    for options in (["--temp", "0"], ["--temp", "3", "--top-k", "50", "--repeat-penalty", "1.2", "--seed", "3"]):
        run("strace", "-f", "-e", "trace=brk,mmap,mremap,munmap,madvise,write", "-o", trace, program(), *options, "-t", "2", "--ids", ids, "-n", "150")
        calls = [line.split(None, 1)[1] for line in pathlib.Path(trace).read_text().splitlines()]
        said = [i for i, call in enumerate(calls) if call.startswith("write(1,")]
        assert len(said) > 5, calls
        between = [c for c in calls[said[0]:said[-1]] if not c.startswith("write(1,")]
        assert len(between) == 1 and between[0].startswith("madvise(") and "MADV_DONTNEED" in between[0], between


def test_tokenize(folder):
    text = "What is the symbol of zinc? <|im_end|> 12 é\n"
    ids = run(program(), "tokenize", "--jsonl", input=json.dumps(text) + "\n").stdout
    back = run(program(), "detokenize", "--jsonl", input=ids).stdout
    assert 2 in json.loads(ids) and json.loads(back) == text, (ids, back)
    app = f"{folder}/tok"
    compile_to(app, "--task", "tokenize")
    assert run(app, "tokenize", "--jsonl", input=json.dumps(text) + "\n").stdout == ids
    assert os.path.getsize(app) < 2_000_000


def test_template(folder):
    chat = {"messages": [{"role": "user", "content": " hi "}], "add_generation_prompt": True}
    out = run(program(), "template", "--jsonl", input=json.dumps(chat) + "\n").stdout
    assert json.loads(out) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", out


# ---- the program as a file ----

def test_strip(folder):
    if not shutil.which("strip"):
        return
    app = shutil.copy(program(), f"{folder}/stripped")
    run("strip", app)
    assert run(app, "--temp", "0", "What colour is tin?").stdout == run(program(), "--temp", "0", "What colour is tin?").stdout
    assert json.loads(run(INGOT, "inspect", "--json", app).stdout)["architecture"] == "llama"


def test_static_and_small(folder):
    said = run("ldd", program(), ok=False)
    assert "not a dynamic executable" in said.stdout + said.stderr
    report = json.loads(run(INGOT, "compile", MODEL, "-o", f"{folder}/app", "--json").stdout)
    rest = report["file_bytes"] - report["weight_bytes"]
    assert rest <= 2_000_000 and os.path.getsize(f"{folder}/app") == report["file_bytes"], report
    headers = pathlib.Path(f"{folder}/app").read_bytes()
    phoff, phentsize, phnum = struct.unpack_from("<Q", headers, 32)[0], *struct.unpack_from("<HH", headers, 54)
    for i in range(phnum):
        kind, flags = struct.unpack_from("<II", headers, phoff + i * phentsize)
        assert not (kind == 1 and flags & 3 == 3), "a segment is writable and executable"
        assert not (kind == 0x6474e551 and flags & 1), "the stack is executable"


def test_verify(folder):
    compile_to(f"{folder}/app", "--verify=0.01")
    done = compile_to(f"{folder}/no", "--verify=0", ok=False)
    assert done.returncode == 1 and "--verify" in done.stderr and not os.path.exists(f"{folder}/no")


def test_lib(folder):
    cc = shutil.which("cc") or shutil.which("gcc")
    if not cc:
        return
    run(INGOT, "compile", MODEL, "-q", "--emit", "lib", "-o", f"{folder}/libmetals.a")
    header = next(pathlib.Path(folder).glob("*.h"))
    shutil.copy(f"{SOURCE}/tests/e2e/use_lib.c", folder)
    run(cc, "-o", f"{folder}/use", f"{folder}/use_lib.c", f"-DHEADER=\"{header.name}\"", "-L", folder, "-lmetals", "-lpthread", "-lm",
        cwd=folder)
    assert run(f"{folder}/use").stdout.strip() == "Copper is red."


def test_run_cache(folder):
    env = dict(os.environ, XDG_CACHE_HOME=f"{folder}/cache")
    for _ in range(2):
        said = run(INGOT, "run", "-q", MODEL, "--temp", "0", "What colour is lead?", env=env).stdout
        assert said.strip() == "Lead is dull grey."
    assert len(os.listdir(f"{folder}/cache/ingot")) == 1
    # every option that changes the program has a place of its own there
    run(INGOT, "run", "-q", "--start-from", "fuse", MODEL, "--ids", "1", "-n", "1", env=env)
    assert len(os.listdir(f"{folder}/cache/ingot")) == 2
    expect_error(folder, [INGOT, "run", "-q", "--verify=0", MODEL, "hi"], 1, "--verify", env=env)
    expect_error(folder, [INGOT, "run", "--stop-after", "fuse", MODEL, "hi"], 2, "--stop-after", env=env)
    expect_error(folder, [INGOT, "run", "--backend", "null", MODEL, "hi"], 2, "--backend", env=env)
    expect_error(folder, [INGOT, "run", MODEL, "--tempp", "1"], 2, "metals: error: --tempp", env=env)


def test_default_name(folder):
    model = shutil.copytree(MODEL, f"{folder}/my módel")
    run(INGOT, "compile", ".", "-q", "--cpu", "x86-64-v3", cwd=model)
    run(INGOT, "compile", "my módel/", "-q", "--cpu", "x86-64-v3", cwd=folder)
    programs = f"{model}/my módel.ingot", f"{folder}/my módel.ingot"
    assert all(json.loads(run(p, "card").stdout)["name"] == "my módel" for p in programs)


# ---- profile ----

ROW_KEYS = {"label", "kernel", "class", "launches", "calls", "median_s", "p95_s", "total_s", "share", "bytes", "flops", "gbs",
            "gflops", "waiting"}


def check_profile(report, prompt, steps, threads):
    assert (report["threads"], report["p"], report["n"]) == (threads, prompt, steps) and report["read_gbs"] > 0, report
    assert [(e["entry"], e["tokens"]) for e in report["entries"]] == [("prefill", prompt), ("decode", steps)]
    for e in report["entries"]:
        rows = e["kernels"]
        assert all(set(r) == ROW_KEYS for r in rows), rows[0]
        assert [r["share"] for r in rows] == sorted((r["share"] for r in rows), reverse=True)
        assert abs(sum(r["share"] for r in rows) - 1) < 1e-6, e
        assert all(r["calls"] == r["launches"] * e["runs"] and 0 <= r["median_s"] <= r["p95_s"] for r in rows), e
        assert abs(sum(r["bytes"] for r in rows) - e["bytes"]) < 1e-6 * e["bytes"] and e["flops"] > 0
        assert len(e["waiting_s"]) == threads and all(0 <= w <= e["seconds"] for w in e["waiting_s"])
    # every weight of the linears is read once a token: a product and a sum each
    linear = {r["label"]: r for r in report["entries"][1]["kernels"] if r["kernel"].startswith("linear")}
    assert len(linear) == 5 and all(r["flops"] >= 2 * r["calls"] * 64 * 64 for r in linear.values()), linear


def test_profile(folder):
    for threads in (1, 2):
        report = json.loads(run(program(), "profile", "-p", "96", "-n", "24", "-t", threads, "--json").stdout)
        check_profile(report, 96, 24, threads)
        each = json.loads(run(program(), "profile", "-p", "96", "-n", "24", "-t", threads, "--json", "--each").stdout)
        for whole, parts in zip(report["entries"], each["entries"]):
            assert len(parts["kernels"]) == sum(r["launches"] for r in whole["kernels"])
            assert parts["flops"] == whole["flops"] and all(r["launches"] == 1 for r in parts["kernels"])
    table = run(program(), "profile", "-p", "96", "-n", "24", "-t", "1").stdout
    assert "decode: 24 tokens in" in table and "mlp / down" in table and "GB/s" in table, table
    env = dict(os.environ, XDG_CACHE_HOME=f"{folder}/cache")
    check_profile(json.loads(run(INGOT, "profile", program(), "-p", "9", "-n", "3", "-t", "1", "--json").stdout), 9, 3, 1)
    check_profile(json.loads(run(INGOT, "profile", "-q", "--json", MODEL, "-p", "9", "-n", "3", "-t", "1", env=env).stdout), 9, 3, 1)
    expect_error(folder, [INGOT, "profile", sys.executable], 1, "ingot did not make it")


def attend_row(entry):
    [row] = [r for r in entry["kernels"] if r["kernel"].startswith("attend")]
    return row["bytes"] / row["calls"], row["flops"] / row["calls"]


def test_profile_counts_attention(folder):
    """What attention reads: the cache as far as it is filled, and not the room there is; what it computes: pairs that are seen."""
    found = {}
    for prompt in (8, 200):
        report = json.loads(run(program(), "profile", "-p", prompt, "-n", "8", "-t", "1", "--json").stdout)
        found[prompt] = [attend_row(e) for e in report["entries"]]
    (prefill, short), (_, longer) = found[8], found[200]
    position = (longer[0] - short[0]) / 192  # keys and values of two heads of 32 in f16, and perhaps scales
    assert 256 <= position <= 320, found
    assert 0 < short[0] - 12.5 * position <= 2048, found  # keys 9 to 16; queries and results besides
    assert prefill[1] == 8 * 9 / 2 * 2 * 4 * (32 + 32), found
    # sequences of a batch attend each to itself
    run(INGOT, "compile", f"{SOURCE}/tests/embed/model", "-o", f"{folder}/bert", "-q")
    alone, five = (json.loads(run(f"{folder}/bert", "profile", "-p", "12", "-n", "2", "-b", b, "--json").stdout)["entries"][0]
                   for b in (1, 5))
    assert five["tokens"] == 5 * alone["tokens"] and abs(five["flops"] - 5 * alone["flops"]) < 1, (alone, five)
    expect_error(folder, [program(), "profile", "-b", "2"], 2, "--batch", "this program: 1")


def test_tile(folder):
    """Tile sizes change code, not bits."""
    compile_to(f"{folder}/app", "--tile", "token_tile=1,float_tile=3,row_groups=1,query_tile=2,prefetch_bytes=0")
    ids = sample_ids(50)
    assert logits(f"{folder}/app", folder, [ids]) == logits(program(), folder, [ids])
    assert pathlib.Path(f"{folder}/app").read_bytes() != pathlib.Path(program()).read_bytes()
    expect_error(folder, [INGOT, "compile", MODEL, "-o", f"{folder}/x", "--tile", "token_til=2"], 1, "token_tile")
    expect_error(folder, [INGOT, "compile", MODEL, "-o", f"{folder}/x", "--tile", "row_groups=0"], 1, "row_groups", "1 to 64")


# ---- eval ----

KERNEL = """kernel @add(%x: ptr<i8>, %y: ptr<f32>; %n) class map {
  par %i in 0..%n {
    %a = load i8 %x[%i]
    %b = cvt %a : f32
    store %b, %y[%i]
  }
}
"""


def write_x(path, dtype, data):
    text = json.dumps({"x": {"dtype": dtype, "shape": [8], "data_offsets": [0, len(data)]}}).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_eval_kernel(folder):
    """A kernel's buffers take inputs of their own kind, in their own width, and of a size that there can be."""
    pathlib.Path(f"{folder}/k.ir").write_text(KERNEL)
    write_x(f"{folder}/i", "I64", struct.pack("<8q", *range(-4, 4)))
    write_x(f"{folder}/f", "F32", struct.pack("<8f", *range(8)))
    command = [INGOT, "eval", f"{folder}/k.ir", "--out", f"{folder}/out"]
    expect_error(folder, command + ["--in", f"{folder}/f", "--set", "n=8,y.n=8"], 1, "holds floats")
    expect_error(folder, command + ["--in", f"{folder}/i", "--set", "n=8,y.n=9000000000000000000"], 1, "--set")
    expect_error(folder, command + ["--in", f"{folder}/i", "--set", "n=8,y.n=-1"], 1, "--set")
    run(*command, "--in", f"{folder}/i", "--set", "n=8,y.n=8")
    assert pathlib.Path(f"{folder}/out").read_bytes()[-32:] == struct.pack("<8f", *range(-4, 4))


# ---- inspect ----

def test_inspect_tensors(folder):
    """A safetensors file without a model around it, as `tensors` and `eval` write them."""
    write_ids(f"{folder}/a.safetensors", [[1, 2, 3]])
    report = json.loads(run(INGOT, "inspect", "--json", f"{folder}/a.safetensors").stdout)
    assert report["kind"] == "tensors" and report["tensors"] == [{"name": "input_ids", "format": "i64", "shape": [1, 3], "bytes": 24}]
    assert "input_ids" in run(INGOT, "inspect", "-t", f"{folder}/a.safetensors").stdout
    assert "levels" in run(INGOT, "inspect", program()).stdout
    pathlib.Path(f"{folder}/a.safetensors").write_bytes(b"{}")
    expect_error(folder, [INGOT, "inspect", f"{folder}/a.safetensors"], 1, "safetensors")


# ---- wrong use and bad luck ----

def expect_error(folder, command, code, *words, **kw):
    before = sorted(os.listdir(folder))
    done = run(*command, ok=False, **kw)
    assert done.returncode == code, f"{command}: exit {done.returncode}, expected {code}: {done.stderr}"
    for word in words:
        assert word in done.stderr, f"{command}: '{word}' is not in: {done.stderr}"
    assert sorted(os.listdir(folder)) == before, f"{command}: left {sorted(os.listdir(folder))}"


def test_wrong_use(folder):
    bert = f"{SOURCE}/tests/embed/model"
    expect_error(folder, [INGOT, "compil"], 2, "did you mean 'compile'")
    expect_error(folder, [INGOT, "compile", MODEL, "--quan", "q8_0"], 2, "did you mean '--quant'")
    expect_error(folder, [INGOT, "compile", MODEL, "--quant", "q8"], 2, "q8_0")
    expect_error(folder, [INGOT, "compile"], 2, "MODEL")
    expect_error(folder, [INGOT, "compile", ""], 1, "error: '': is not there")
    expect_error(folder, [INGOT, ""], 2, "'': is no command")
    expect_error(folder, [INGOT, "compile", MODEL, "--json", "--emit", "graph"], 1, "--json", "-o")
    expect_error(folder, [INGOT, "compile", MODEL, "--json", "--stop-after", "fuse"], 1, "--json")
    expect_error(folder, [INGOT, "compile", MODEL, "-o", f"{folder}/x", "--verify=much"], 1, "'much' is not a bound")
    expect_error(folder, [INGOT, "compile", MODEL, "-o", f"{folder}/x", "--verify", "--emit", "lib"], 1, "expected --emit exe")
    expect_error(folder, [INGOT, "compile", MODEL, "-o", f"{folder}/x", "--prefill", "fast", "--act", "f32"], 1, "8 bits")
    expect_error(folder, [INGOT, "compile", bert, "-o", f"{folder}/x", "--prefill", "fast"], 1, "reads no prompt")
    expect_error(folder, [INGOT, "compile", MODEL, "-o", f"{folder}/x", "--cpu", "x86-64-v9"], 1, "x86-64-v3")
    expect_error(folder, [INGOT, "compile", f"{folder}/none", "-o", f"{folder}/x"], 1, "none")
    expect_error(folder, [program(), "generate", "--tempp", "1"], 2, "--temp")
    expect_error(folder, [program(), "generate", "--ids", "1,99999", "-n", "1"], 1, "99999")
    expect_error(folder, [program(), "--cpu", "x86-64-v9", "hello"], 1, "x86-64-v3")
    expect_error(folder, [program(), "generate", "--ids", ",".join(["1"] * 600), "-n", "1"], 1, "512")


def test_unwritable(folder):
    expect_error(folder, [INGOT, "compile", MODEL, "-o", f"{folder}/no/such/folder/app"], 1, "no/such/folder")
    expect_error(folder, [program(), "tensors", "--in", f"{folder}/none", "--out", f"{folder}/out"], 1, "none")
    os.mkdir(f"{folder}/taken")
    expect_error(folder, [INGOT, "compile", MODEL, "-q", "-o", f"{folder}/taken"], 1, "taken")


def limited(limit):
    def apply():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return apply


def test_full_disk(folder):
    for limit in (1000, 300_000, 1_000_000, 1_500_000):
        expect_error(folder, [INGOT, "compile", MODEL, "-q", "-o", f"{folder}/app"], 1, "File too large", preexec_fn=limited(limit))


def test_closed_pipe_and_interrupt(folder):
    p = subprocess.Popen([program(), "--raw", "--temp", "1.5", "-n", "400", "Hello"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.read(1)
    p.stdout.close()
    assert p.wait(60) == 0, p.returncode
    p = subprocess.Popen([program(), "bench", "-p", "400", "-n", "100", "-r", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        p.wait(0.5)
    except subprocess.TimeoutExpired:
        p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130, p.returncode


def talk(app, *steps):
    """A chat on a terminal: each step waits for a text and then types; returns all output and the exit code."""
    leader, follower = pty.openpty()
    p = subprocess.Popen([app, "--temp", "0"], stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
                         preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(follower)
    seen = b""
    for wanted, typed in (*steps, (None, None)):
        start, deadline = len(seen), time.monotonic() + 60
        while wanted is None or wanted not in seen[start:]:
            assert time.monotonic() < deadline, f"waited for {wanted}, saw {seen}"
            if not select.select([leader], [], [], 1)[0]:
                continue
            try:
                part = os.read(leader, 4096)
            except OSError:  # the other end is closed
                part = b""
            if not part:
                break
            seen += part
        if typed:
            os.write(leader, typed)
    os.close(leader)
    return seen.decode(), p.wait(60)


def test_chat_on_a_terminal(folder):
    text, code = talk(program(), (b">", b"What colour is copper?\n"), (b"Copper is red.", b"What is 3 plus 4?\n"),
                      (b"3 plus 4 is 7.", b"/reset\n"), (b">", b"When does tin melt?\n"), (b"232 degrees.", b"\x04"))
    assert code == 0, (code, text)
    text, code = talk(program(), (b">", b"\x03"), (b">", b"\x03\x03"))
    assert code in (0, 130), (code, text)


def sweep(folder, option, dense, *options):
    """The n-th failure in turn, up to the first run in which none was due; from `dense` on by larger steps."""
    n, failures = 1, 0
    while True:
        done = run(INGOT, "compile", MODEL, "-q", "-o", f"{folder}/app", *options, option, n, ok=False)
        left = sorted(os.listdir(folder))
        if done.returncode == 0:
            assert left == ["app"], left
            os.remove(f"{folder}/app")
            return failures
        assert done.returncode == 1 and "ingot: error:" in done.stderr and not left, (n, done.returncode, done.stderr, left)
        failures += 1
        n += 1 if n < dense else 1 + n // 10


def test_failure_sweep(folder):
    """Every read and every allocation of the tokenizer's way; reads and a sample of allocations of the whole."""
    assert sweep(folder, "--fail-read", 10 ** 6, "--task", "tokenize") > 5
    assert sweep(folder, "--fail-alloc", 10 ** 6, "--task", "tokenize") > 50
    assert sweep(folder, "--fail-read", 10 ** 6, "--cpu", "x86-64-v3") > 5
    assert sweep(folder, "--fail-alloc", 40, "--cpu", "x86-64-v3") > 50


def fails_cleanly(folder, n):
    """One compile of the smallest fixture whose n-th allocation fails; True when none was due."""
    place = f"{folder}/{n}"
    os.mkdir(place)
    done = run(INGOT, "compile", f"{SOURCE}/tests/arch/cases/act-relu/model", "-q", "-o", f"{place}/app", "--cpu", "x86-64-v3",
               "--fail-alloc", n, ok=False)
    left = os.listdir(place)
    if done.returncode == 0:
        assert left == ["app"], (n, left)
        return True
    assert done.returncode == 1 and "ingot: error:" in done.stderr and not left, (n, done.returncode, done.stderr, left)
    return False


def every_failure(folder):
    """Every allocation of a whole compile in turn (minutes, so not among the tests: .ci/run asks for it by name)."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(1, 10 ** 6, 100):
            if any(pool.map(lambda n: fails_cleanly(folder, n), range(first, first + 100))):
                print(f"{first} allocations and more failed, each cleanly", flush=True)
                return


def squared_error(app, folder, rows, reference):
    """Of the logits of rows of ids against `reference`."""
    got = struct.unpack(f"<{len(reference)}f", logits(app, folder, rows)[1])
    return sum((x - y) ** 2 for x, y in zip(got, reference))


def test_calibrate(folder):
    lines = [f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n" for q, a in QUESTIONS.items()]
    text, app = pathlib.Path(f"{folder}/text"), f"{folder}/app"
    text.write_text("".join(lines[:4]) * 5)
    held_out = json.loads(run(program(), "tokenize", "--jsonl", input=json.dumps("".join(lines[4:])) + "\n").stdout)
    fp32 = program("--quant", "none", "--act", "f32")
    data = logits(fp32, folder, [held_out])[1]
    reference = struct.unpack(f"<{len(data) // 4}f", data)
    for quant in "q4_0", "q4_1", "iq4_nl":
        options = "--quant", quant, "--act", "f32", "--cpu", "native"
        compile_to(app, *options)
        before = squared_error(app, folder, [held_out], reference)
        compile_to(app, *options, "--calibrate", text, "--verify")
        after = squared_error(app, folder, [held_out], reference)
        assert after < 0.95 * before, (quant, before, after)
    card = json.loads(run(app, "card").stdout)["calibration"]
    assert card["sha256"] == hashlib.sha256(text.read_bytes()).hexdigest() and card["tokens"] > 256, card
    first = pathlib.Path(app).read_bytes()
    compile_to(app, *options, "--calibrate", text)
    assert pathlib.Path(app).read_bytes() == first
    expect_error(folder, [INGOT, "compile", MODEL, "--calibrate", text], 1, "expected a format by --quant")
    expect_error(folder, [INGOT, "compile", MODEL, "--quant", "q4_0", "--calibrate", f"{folder}/none"], 1, "none")
    text.write_text("too short")
    expect_error(folder, [INGOT, "compile", MODEL, "--quant", "q4_0", "--calibrate", text], 1, "expected at least 256")
    encoder = f"{SOURCE}/tests/embed/model"
    expect_error(folder, [INGOT, "compile", encoder, "--quant", "q4_0", "--calibrate", text], 1, "is for language models")


def test_emit_texts(folder):
    run(INGOT, "compile", MODEL, "-q", "--emit", "graph", "-o", f"{folder}/m.ir")
    once = run(INGOT, "opt", f"{folder}/m.ir", "--passes", "dce").stdout
    pathlib.Path(f"{folder}/m2.ir").write_text(once)
    assert run(INGOT, "opt", f"{folder}/m2.ir", "--passes", "dce").stdout == once and "rmsnorm" in once
    assert "par %" in run(INGOT, "compile", MODEL, "-q", "--emit", "kernel").stdout
    run(INGOT, "compile", MODEL, "-q", "--emit", "llvm-ir", "--cpu", "x86-64-v3", "-o", f"{folder}/m.ll")
    assert "define" in pathlib.Path(f"{folder}/m.ll").read_text()
    assert "linear" in run(INGOT, "compile", MODEL, "--explain-fusion", "--stop-after", "fuse", "-q").stderr


def begin(ingot, source):
    """What the helpers above work on: the compiler and this repository."""
    global INGOT, SOURCE, MODEL
    INGOT, SOURCE = os.path.abspath(ingot), os.path.abspath(source)
    MODEL = f"{SOURCE}/examples/metals"


def run_tests(functions, wanted):
    """Runs each test_ of `functions` (globals()) that one of `wanted` finds (all when empty), or that it names whole; exit status."""
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory() as shared:
        SHARED["folder"] = shared
        for name, test in list(functions.items()):
            if not (name.startswith("test_") and (not wanted or any(re.search(w, name) for w in wanted)) or name in wanted):
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    test(folder)
                    passed += 1
                    print(f"ok   {name}", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAIL {name}\n{traceback.format_exc(limit=3)}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main():
    begin(*sys.argv[1:3])
    if platform.machine() not in ("x86_64", "aarch64"):
        print("these tests run produced programs, which are for x86-64 and AArch64")
        return 1
    return run_tests(globals(), sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
