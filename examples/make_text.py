#!/usr/bin/env python3
"""Writes the text that the example model learns: short conversations about eight metals and small sums.

    make_text.py N SEED > conversations.jsonl      one {"messages": [...]} a line

Every answer follows from the tables below, so that a test can tell right from wrong (questions())."""
import json
import random
import sys

# name: symbol, colour, melting point in degrees Celsius, density in kg per litre (rounded), use
METALS = {
    "copper": ("Cu", "red", 1085, 9, "wires"),
    "iron": ("Fe", "grey", 1538, 8, "bridges"),
    "gold": ("Au", "yellow", 1064, 19, "rings"),
    "silver": ("Ag", "white", 962, 10, "spoons"),
    "lead": ("Pb", "dull grey", 327, 11, "weights"),
    "tin": ("Sn", "bright white", 232, 7, "cans"),
    "zinc": ("Zn", "blue grey", 420, 7, "roofs"),
    "nickel": ("Ni", "pale yellow", 1455, 9, "coins"),
}
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen " \
          "seventeen eighteen".split()
GREETINGS = ["Hello!", "Hi.", "Good morning.", "Hello, who are you?", "Who are you?"]


def about(metal):
    """All questions about one metal with their answer."""
    symbol, colour, melts, density, use = METALS[metal]
    name = metal.capitalize()
    return [
        ([f"What colour is {metal}?", f"Which colour has {metal}?", f"Tell me the colour of {metal}."],
         f"{name} is {colour}."),
        ([f"What is the symbol of {metal}?", f"Which symbol does {metal} have?"], f"The symbol of {metal} is {symbol}."),
        ([f"Which metal has the symbol {symbol}?", f"What is {symbol}?"], f"{symbol} is the symbol of {metal}."),
        ([f"When does {metal} melt?", f"What is the melting point of {metal}?"], f"{name} melts at {melts} degrees."),
        ([f"What is {metal} used for?", f"What do people make of {metal}?"], f"People make {use} of {metal}."),
        ([f"How heavy is {metal}?", f"How heavy is a litre of {metal}?"], f"A litre of {metal} weighs {density} kilograms."),
    ]


def questions():
    """Every question with its answer: (question, answer)."""
    for metal in METALS:
        for forms, answer in about(metal):
            for form in forms:
                yield form, answer
    for a in METALS:
        for b in METALS:
            da, db = METALS[a][3], METALS[b][3]
            if da != db:
                heavy, light = (a, b) if da > db else (b, a)
                yield f"Which is heavier, {a} or {b}?", f"{heavy.capitalize()} is heavier than {light}."
    for a in range(10):
        for b in range(10):
            if a + b < len(NUMBERS):
                answer = f"{NUMBERS[a].capitalize()} plus {NUMBERS[b]} is {NUMBERS[a + b]}."
                yield f"What is {NUMBERS[a]} plus {NUMBERS[b]}?", answer
                yield f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."
    for greeting in GREETINGS:
        yield greeting, "Hello, I am a small ingot. Ask me about metals or sums."


def conversations(count, seed):
    rng = random.Random(seed)
    every = list(questions())
    for _ in range(count):
        messages = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            question, answer = rng.choice(every)
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        if rng.random() < 0.3:
            messages.insert(0, {"role": "system", "content": "You know metals and sums."})
        yield {"messages": messages}


if __name__ == "__main__":
    for line in conversations(int(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps(line))
