#!/usr/bin/env python3
"""Records what Jinja2, set up as Transformers does, makes of templates: make.py > cases.jsonl

make.py --files DIR > big.jsonl takes every *.jinja of a folder with a set of conversations instead. Needs jinja2 and
transformers (for the environment)."""
import datetime
import glob
import json
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox
from transformers.utils import chat_template_utils

NOW = "2026-03-04T05:06:07"


def environment():
    """The very environment Transformers renders with, but for the clock."""
    compiled = chat_template_utils._compile_jinja_template
    compiled = getattr(compiled, "__wrapped__", compiled)
    env = compiled("x").environment
    env.globals["strftime_now"] = lambda fmt: datetime.datetime.fromisoformat(NOW).strftime(fmt)
    return env


USER = {"role": "user", "content": "Hello  there\n"}
BOT = {"role": "assistant", "content": " Hi! "}
CHAT = {"messages": [{"role": "system", "content": "Be brief."}, USER, BOT, {"role": "user", "content": "1 < 2 & \"x\" 'y' é 😀"}],
        "add_generation_prompt": True}
DATA = {"a": 1, "b": 2.5, "s": "Hello World", "l": [3, 1, 2], "d": {"x": 1, "items": 5, "B": None}, "n": None, "t": True,
        "big": 12345678901, "users": [{"name": "bob", "age": 3}, {"name": "Al", "age": 5}, {"name": "cy", "age": 3}],
        "u": "  Ünïcode ß  ", "e": [], "f": 1e22, "g": 0.1, "deep": {"k": [1, {"z": "q"}]}}

EXPRESSIONS = """
a + b|a - b|a * 3|a / 2|7 // 2|-7 // 2|-7 % 3|7 % -3|2 ** 3 ** 2|-2 ** 2|2 ** -1|1.5 // 0.5|5.5 % 2
a ~ b ~ s|s ~ n ~ t|'a' 'b' "c"|'%s-%05.2f-%d' % ('x', 3.14159, 7)|'%r' % 'x'|"a\\nb\\t\\x41\\u00e9"
l|d|n|t|big|f|g|1e16|1e-5|123456789.123|1.0|-0.0|(1,)|(1, 2)|()|{}|{'a': [1, 'x', None, True]}|["it's", 'say "hi"', 'both \\'"']
a == 1|a == 1.0|a == true|'a' < 'b'|l == [3,1,2]|1 < 2 < 3|1 < 2 > 3|2 in l|2 not in l|'World' in s|'x' in d|not a|not e
a and b|e or 'z'|n or e or 0|a if t else b|a if not t|'y' if n is none else 'z'|(1 if n) is undefined
s.upper()|s.lower()|s.title()|s[0]|s[-1]|s[1:4]|s[::-1]|s[:-3]|l[0]|l[-1]|l[1:]|l[::2]|l[5]|d.x|d['x']|d.items() | list|d['items']|d.keys() | list|d.values() | list|d.get('x')|d.get('q', 9)|d.nope|deep.k[1].z|deep['k'][0]
s.split()|s.split('o')|s.split('o', 1)|s.rsplit('o', 1)|u.strip()|u.lstrip()|u.rstrip()|s.strip('Hd')|s.startswith('He')|s.endswith('x')|s.replace('o', '0')|s.replace('o', '0', 1)|s.find('o')|s.rfind('o')|s.count('l')|s.splitlines()|'a,b'.partition(',')|', '.join(['x', 'y'])
'{}-{}'.format(1, 'b')|'{0}{1}{0}'.format('a', 'b')|'{x:>5}|{y:<4}|{z:^6}|{w:.2f}'.format(x=1, y='b', z='c', w=3.14159)|'{:,}'.format(1234567)|'{:05d}'.format(42)|'ab'.isdigit()|'12'.isdigit()|'ab'.isalpha()|' '.isspace()|'AB'.isupper()|'abc'.removeprefix('a')
s | upper|s | lower|s | title|s | capitalize|u | trim|s | length|l | length|d | length|l | first|l | last|l | sort|l | sort(reverse=true)|l | reverse | list|s | reverse|l | join('-')|l | join|l | sum|l | max|l | min|l | list|s | list
users | map(attribute='name') | list|users | map(attribute='name') | join(', ')|users | selectattr('age', 'equalto', 3) | list | length|users | rejectattr('age', '==', 3) | map(attribute='name') | list|users | sort(attribute='age') | map(attribute='name') | list|users | groupby('age') | list | length|l | map('string') | list|l | select('odd') | list|l | reject('odd') | list|[0, 1, '', 'x', none] | select | list|['a', 'A', 'b'] | unique | list|['b', 'A', 'c'] | sort|['b', 'A', 'c'] | sort(case_sensitive=true)
d | dictsort|d | dictsort(by='value', reverse=true) if false|d | items | list|d | tojson|l | tojson|s | tojson|n | tojson|t | tojson|f | tojson|deep | tojson(indent=2)|deep | tojson(separators=(',', ':'))|{'b': 1, 'a': 2} | tojson(sort_keys=true)|"<a href='x'>&é😀\\u2028" | tojson|e | tojson(indent=4)|{1: 2, none: 3, true: 4} | tojson
nope | default('x')|e | default('x')|e | default('x', true)|n | default('x')|n | d('x', true)|'3' | int|'x' | int|'x' | int(7)|3.9 | int|'3.5' | float|'z' | float(1.5)|2.5 | round|3.14159 | round(2)|3.14159 | round(2, 'floor')|-3 | abs|3 | string|'<b>' | escape|'abc' | replace('b', 'x')|"a\\nb\\n\\nc" | indent|"a\\nb" | indent(2, true)|"a\\nb" | indent('> ')|'x' | center(5)|'hello world foo' | truncate(10)|'hello world foo' | truncate(10, true)|'a b  c' | wordcount|[1,2,3,4,5] | batch(2) | list|[1,2,3,4,5] | slice(2) | list|'%s!' | format('x')
n is none|nope is defined|a is defined|a is number|b is float|a is integer|t is boolean|t is number|s is string|d is mapping|l is iterable|l is sequence|s is sequence|n is iterable|d is sequence|a is odd|a is even|a is divisibleby 1|a is eq 1|a is in l|3 is in l|t is true|t is false|t is sameas true|'a' is lower|'A' is upper|a is not none|a is not defined|range is callable|n is not none and n.x
range(3) | list|range(1, 10, 3) | list|range(5, 0, -2) | list|dict(a=1, b='x')|strftime_now('%d %b %Y')|strftime_now('%Y-%m-%d %H:%M:%S %A %B')|bos_token ~ eos_token
1_000|0x1f|0b101|0o17|1e3|loop is defined|true and True|none == None|[1, 2,]|{'a': 1,}|[] + [1]|[0] * 3|'ab' * 2|(1, 2) + (3,)
undefined_thing|nope.x|nope['x']|nope()|1 / 0|1 + 'x'|'x' + 1|n.x.y|raise_exception('no: ' ~ a)|l.append(1)|l | nofilter|a is notest|'a' < 1|[1] < [2]|range(1000000)|d.update({})|s.foo()|1[0]|n[0]|l['x']
""".strip()

TEMPLATES = r'''
{% for m in messages %}{{ m.role }}: {{ m['content'] | trim }}{% if not loop.last %}, {% endif %}{% endfor %}
=====
{%- for m in messages -%}
  {{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.revindex0 }} {{ loop.previtem.role if loop.previtem is defined }}
{%- endfor -%}
=====
<|x|>
  {% if messages[0].role == 'system' %}
    {{ messages[0].content }}
  {% elif true %}
no
  {% else %}
never
  {% endif %}
tail
=====
{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.found = true %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.found }} {{ ns.n }}
=====
{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = i + 10 %}{{ x }};{% endfor %}{{ x }}
=====
{% macro greet(name, punct='!', q=none) %}Hi {{ name }}{{ punct }}{{ q }}{% endmacro %}{{ greet('a') }} {{ greet('b', punct='?') }} {{ greet(name='c', q=1) | upper }}
=====
{% macro rec(n) %}{{ n }}{% if n > 0 %}-{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(4) }}
=====
{% macro wrap() %}[{{ caller() }}]{% endmacro %}{% call wrap() %}in{{ 1 + 1 }}{% endcall %}
=====
{% macro each(items) %}{% for i in items %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) each([1, 2]) %}<{{ x }}>{% endcall %}
=====
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
=====
{% for k, v in {'a': 1, 'b': [2]}.items() %}{{ k }}={{ v }};{% endfor %}{% for x in [] %}x{% else %}none{% endfor %}
=====
{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ m.content }}{% endfor %}
=====
{% set text %}  block {{ 1 }} {% endset %}[{{ text }}]{% set t2 | trim | upper %}  abc {% endset %}[{{ t2 }}]
=====
{% filter upper | replace('A', '4') %}abc{% endfilter %}
=====
{% raw %}{{ not }} {% if %}{% endraw %}{# comment #}end
=====
a
{# comment alone #}
b
	{%+ if true %}kept{% endif +%}
c
=====
{{- '  x  ' -}}   y   {{ 'z' }}

=====
  {%- if true %}  a  {%- endif %}  b
=====
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}
=====
{% generation %}gen{% endgeneration %}{{ messages | length }}
=====
{% for a in [1,2] recursive %}{{ a }}{% if a == 2 and loop.depth < 3 %}({{ loop([2]) }}){% endif %}{% endfor %}
=====
{% for i in [1,1,2] %}{{ loop.changed(i) }}{{ loop.cycle('a', 'b') }}{% endfor %}
=====
{% set a, b = 1, [2, 3] %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}
=====
{% if messages and messages[-1]['role'] != 'user' or (add_generation_prompt is defined and add_generation_prompt) %}yes{% endif %}
=====
{{ messages[1:] | map(attribute='role') | join('|') }} {{ (messages | last).content | tojson }}
=====
{%- macro render(v) -%}{%- if v is mapping -%}{{ '{' }}{%- for k, x in v | dictsort -%}{{ k }}:{{ render(x) }}{%- if not loop.last -%},{%- endif -%}{%- endfor -%}{{ '}' }}{%- elif v is iterable and v is not string -%}[{%- for x in v -%}{{ render(x) }};{%- endfor -%}]{%- else -%}{{ v }}{%- endif -%}{%- endmacro -%}{{ render({'b': [1, 'x', {'q': none}], 'a': true}) }}
=====
{{ raise_exception('Conversation roles must alternate') }}
=====
{% if true %}unclosed
=====
{% endif %}
=====
{{ a b }}
=====
{{ 'x' is defined if y }}
=====
{% for x in %}{% endfor %}
=====
{{ foo( }}
=====
{% unknown %}
=====
{% macro r(n) %}{{ r(n + 1) }}{% endmacro %}{{ r(0) }}
=====
{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}
=====
{%if messages%}tight{%endif%}{{messages|length}}
=====
line1
{% if true %}
line2
{% endif %}

line4
=====
{% set x = {'a': {'b': 1}} %}{{ x.a.b }}{% set y = x.a.c %}{{ y is defined }}{{ x['a']['b'] }}
=====
{{ "a" if false }}|{{ ("a" if false) | default('q') }}
=====
{{ [1,2,3][::-1] }}{{ 'abc'[1] }}{{ messages[0]['content'][:2] }}{{ messages[0]['content'].split(' ')[-1] }}
=====
{{ {'role': 'x'} == {'role': 'x'} }} {{ [1, 2] == [1, 2.0] }} {{ 1 == '1' }} {{ none == false }}
=====
{{ '\n'.join(['a', 'b']) }}{{ '\\n' }}{{ "\"" }}
'''


def cases():
    for line in EXPRESSIONS.split("\n"):
        for e in split_top(line):
            yield "{{ " + e + " }}", DATA
    for t in TEMPLATES.strip("\n").split("\n=====\n"):
        yield t, CHAT
        yield t.replace("\n", "\r\n") + "\n", CHAT


def split_top(line):
    """At each | without spaces around it, outside strings and brackets."""
    out, cur, depth, quote, i = [], "", 0, "", 0
    while i < len(line):
        ch = line[i]
        if quote:
            cur += ch
            if ch == "\\":
                cur += line[i + 1]
                i += 1
            elif ch == quote:
                quote = ""
        elif ch in "'\"":
            quote = ch
            cur += ch
        elif ch == "|" and depth == 0 and not (cur.endswith(" ") and line[i + 1] == " "):
            out.append(cur)
            cur = ""
        else:
            depth += (ch in "([{") - (ch in ")]}")
            cur += ch
        i += 1
    return out + [cur]


def record(env, template, context):
    case = {"template": template, "context": context, "now": NOW}
    try:
        compiled = env.from_string(template)
    except jinja2.exceptions.TemplateError:
        return case | {"error": "syntax"}
    try:
        if "range(100000) %}{% for j" in template:
            raise RuntimeError("too long to wait for")
        case["expect"] = compiled.render(**({"bos_token": "<s>", "eos_token": "</s>"} | context))
    except Exception as error:  # any failure of the template's own making
        case["error"] = "render"
        case["message"] = str(error)[:200]
    return case


CONVERSATIONS = [
    CHAT,
    {"messages": [USER], "add_generation_prompt": True},
    {"messages": [USER, BOT, USER], "add_generation_prompt": False},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "part"}, {"type": "image"}]}], "add_generation_prompt": True},
    {"messages": [USER, BOT], "enable_thinking": False, "add_generation_prompt": True},
    {"messages": [BOT, USER], "add_generation_prompt": True},
    {"messages": [{"role": "system", "content": "S"}, USER, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call00001", "type": "function", "function": {"name": "get", "arguments": {"city": "Köln", "n": 2}}}]},
        {"role": "tool", "name": "get", "tool_call_id": "call00001", "content": "{\"t\": 1}"}],
     "tools": [{"type": "function", "function": {"name": "get", "description": "Gets.", "parameters": {
         "type": "object", "properties": {"city": {"type": "string", "description": "c"}, "n": {"type": "integer", "enum": [1, 2]}},
         "required": ["city"]}}}], "add_generation_prompt": True},
    {"messages": [USER, {"role": "assistant", "content": "<think>why</think>So."}, USER], "add_generation_prompt": True},
    {"messages": [], "add_generation_prompt": True},
]


def main():
    env = environment()
    if len(sys.argv) > 2 and sys.argv[1] == "--files":
        pairs = [(open(p).read(), c) for p in sorted(glob.glob(sys.argv[2] + "/*.jinja")) for c in CONVERSATIONS]
    else:
        pairs = cases()
    for template, context in pairs:
        print(json.dumps(record(env, template, context), ensure_ascii=False))


if __name__ == "__main__":
    main()
