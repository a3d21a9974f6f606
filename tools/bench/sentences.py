"""English sentences of mixed lengths, the same for every run of a bench: subjects, verbs, objects and adverbials put together
at random, from questions of four words to paragraphs of a hundred. Standard library only."""
import random

SUBJECTS = """the compiler|a small bird|our neighbour|the old bridge|my sister|this recipe|the committee|a quiet river|the new
teacher|their proposal|the patient|an unexpected storm|the orchestra|a hungry cat|the stock market|the spacecraft|an honest
mistake|the museum|your application|the last train|a group of students|the mayor of the city|the second chapter|a broken
window"""
VERBS = """reads|forgot|explains|has repaired|will visit|could not find|discovered|keeps|rejected|carefully measured|is waiting
for|painted|sold|wrote about|is afraid of|moved|never understood|admires|replaced|borrowed|inherited|hid"""
OBJECTS = """a letter from Paris|the price of wheat|three red apples|the theory of relativity|an email with 42 attachments|the
garden behind the house|its own source code|a very long night|cheap flights to Lisbon|the meaning of justice|two gallons of
milk|the results of the election|a rare kind of orchid|the quarterly report|an ancient map|the noise in the engine|his
grandmother's violin|a cure for the common cold|the rules of chess|some good advice"""
ENDS = """|| yesterday| before the rain started| because nobody else wanted to| in the middle of July, 1987| without saying a
word| while the children were asleep|, which surprised everyone in the room| for the third time this week| at half past six|
and then went home| even though the manual says otherwise|, according to the morning news"""
QUESTIONS = ["Why does {s} matter?", "How do I know whether {s} {v} {o}?", "Is it true that {s} {v} {o}{e}?",
             "What happens when {s} {v} {o}?"]


def parts(text):
    return text.replace("\n", " ").split("|")


def sentences(n, seed=7):
    draw = random.Random(seed)
    lists = {"s": parts(SUBJECTS), "v": parts(VERBS), "o": parts(OBJECTS), "e": parts(ENDS)}

    def filled(form):
        text = form.format(**{k: draw.choice(v) for k, v in lists.items()})
        return text[0].upper() + text[1:]

    def paragraph():
        count = min(12, int(draw.expovariate(0.7)) + 1)
        return ". ".join(filled("{s} {v} {o}{e}") for _ in range(count)) + draw.choice([".", ".", "!", ""])

    return [filled(draw.choice(QUESTIONS)) if draw.random() < 0.2 else paragraph() for _ in range(n)]
