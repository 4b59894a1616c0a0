"""What a process is called: its program, or what its interpreter runs. Pure.

The kernel's own name of a process (comm) is cut at 15 characters, and that of a program in Python
or Java is its interpreter's. So the command line decides: /proc/PID/cmdline, which is empty for a
kernel thread and for a process that has ended.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sockmon.text import one_line

#: Characters of a name that are shown; a longer one ends in "...".
LONGEST = 128


@dataclass(frozen=True, slots=True)
class _Interpreter:
    """How a command line says what an interpreter runs.

    takes: options with a value in the next argument. runs: options whose value, the next argument,
    is what it runs; it is named with the option. file: of those, options that only name a file.
    inline: options after which the program text follows; only the option is named.
    """

    names: re.Pattern[str]
    takes: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    file: frozenset[str] = frozenset()
    inline: frozenset[str] = frozenset()


def _interpreter(names: str, **options: str) -> _Interpreter:
    sets = {name: frozenset(words.split()) for name, words in options.items()}
    return _Interpreter(re.compile(names), **sets)


_INTERPRETERS = (
    _interpreter(r"(?:python|pypy)[0-9.]*t?", takes="-W -X --check-hash-based-pycs", runs="-m",
                 inline="-c"),
    _interpreter(
        r"java",
        takes="-cp -classpath --class-path -p --module-path --add-modules --upgrade-module-path "
        "--add-exports --add-opens --add-reads --limit-modules --patch-module --source "
        "--enable-native-access",
        file="-jar -m --module",
    ),
    _interpreter(
        r"node|nodejs|bun|deno",
        takes="-r --require --import --loader --experimental-loader -C --conditions --env-file "
        "--title",
        inline="-e --eval -p --print",
    ),
    _interpreter(r"perl[0-9.]*", takes="-I", inline="-e -E"),
    _interpreter(r"ruby[0-9.]*", takes="-I -r -C -E", inline="-e"),
    _interpreter(r"php[0-9.]*", takes="-c -d -z -t -S", file="-f", inline="-r"),
    _interpreter(r"bash|dash|sh|ash|ksh|zsh", takes="-o -O +o +O", inline="-c"),
    _interpreter(r"dotnet|mono", takes="--depsfile --runtimeconfig --roll-forward",
                 file="exec run"),
    _interpreter(r"lua[0-9.]*|luajit|tclsh[0-9.]*|Rscript", inline="-e"),
)  # fmt: skip

#: Programs that write a title over their command line, and what of it is always the same.
_TITLE = re.compile(r"(?P<name>[^\s:]+): (?P<rest>.*)", re.DOTALL)
_LASTING = {
    "php-fpm": re.compile(r"pool \S+|master process"),
    "gunicorn": re.compile(r"(?:master|worker) \[[^\]]*\]"),
}
_VERSIONED = re.compile(r"(php-fpm)[0-9.]*")


def program(arguments: Sequence[str], comm: str, executable: str = "") -> str:
    """Name a process by its command line, comm and executable (a path, "" if it is not known).

    An interpreter's program is named with it: "python3 orders.py", "java com.x.Main",
    "node server.js"; a title without what changes: "php-fpm: pool www", "nginx".
    """
    return one_line(_program([word for word in arguments if word], comm, executable), LONGEST)


def _program(arguments: Sequence[str], comm: str, executable: str) -> str:
    if not arguments:
        return comm or _base(executable) or "?"
    title = _TITLE.fullmatch(arguments[0].strip())
    if title:
        return _titled(_base(title["name"]).strip("[]"), title["rest"])
    if len(arguments) == 1 and executable and arguments[0] != executable:
        # Other titles: "puma 5.6 (tcp://0.0.0.0:3000) [shop]", "unicorn master -c /etc/shop.rb".
        arguments, executable = arguments[0].split() or arguments, ""
    name = _base(arguments[0].removeprefix("-")) or _base(executable) or comm
    for called in (name, _base(executable)):
        for interpreter in _INTERPRETERS:
            if called and interpreter.names.fullmatch(called):
                return _interpreted(interpreter, name, arguments[1:])
    return name


def _titled(name: str, rest: str) -> str:
    """Name a process that wrote a title over its command line: "nginx: worker process"."""
    plain = _VERSIONED.fullmatch(name)
    lasting = _LASTING.get(plain[1] if plain else name)
    found = lasting.match(rest) if lasting else None
    return f"{name}: {found[0]}" if found else name


def _interpreted(interpreter: _Interpreter, name: str, arguments: Sequence[str]) -> str:
    """Return the interpreter with what it runs, or the interpreter where that is not said."""
    words = iter(arguments)
    for word in words:
        if word in interpreter.inline or _bundles(interpreter, word):
            return f"{name} {word}"
        if word in interpreter.runs:
            return " ".join([name, word, *[_base(value) for value in [next(words, "")] if value]])
        if word in interpreter.file:
            run = next(words, "")
            return f"{name} {_base(run)}" if run else name
        if word in interpreter.takes:
            next(words, None)
        elif word == "--":
            continue
        elif not word.startswith(("-", "+", "@")):
            return f"{name} {_base(word)}"
    return name


def _bundles(interpreter: _Interpreter, word: str) -> bool:
    """Whether a word is short options in one of which the program text follows: -lc, -ne."""
    letters = {option[1:] for option in interpreter.inline if len(option) == 2}
    return re.fullmatch(r"-[A-Za-z]{2,4}", word) is not None and word[-1] in letters


def _base(path: str) -> str:
    """Return the last part of a path; of a class in a module (m/com.x.Main), the class."""
    return path.rstrip("/").rpartition("/")[2]
