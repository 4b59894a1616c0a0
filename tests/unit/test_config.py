"""Every mistake in a configuration is told at once, where it is, in one printable line."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sockmon import settings
from sockmon.config.fields import ListenAddress
from sockmon.config.load import ConfigError
from sockmon.durations import format_duration, parse_duration, roughly
from sockmon.settings import Config, Poll, Ports, Web, load, parse


def problems(text: str | bytes) -> list[str]:
    """What is wrong with a file called f."""
    with pytest.raises(ConfigError) as caught:
        parse(text.encode() if isinstance(text, str) else text, "f")
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def problem(text: str | bytes) -> str:
    (only,) = problems(text)
    return only


class TestGoodFiles:
    @pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "{}", "null"])
    def test_that_say_nothing_give_the_defaults(self, text: str) -> None:
        assert parse(text.encode(), "f") == Config()

    def test_give_what_they_say(self) -> None:
        text = """
            poll: {interval: 1m, namespaces: host}
            web: {listen_address: "[::1]:80"}
            ports: {top: 0, always_shown: [443, 80]}
        """
        assert parse(text.encode(), "f") == Config(
            Poll(60.0, "host"), Web((ListenAddress("::1", 80),)), Ports(0, (443, 80))
        )

    def test_may_name_several_addresses(self) -> None:
        text = b'web: {listen_address: ["127.0.0.1:80", "[::1]:80"]}'
        both = (ListenAddress("127.0.0.1", 80), ListenAddress("::1", 80))
        assert parse(text, "f") == Config(web=Web(both))

    def test_may_leave_keys_out(self) -> None:
        assert parse(b"ports: {always_shown: [443]}", "f") == Config(ports=Ports(50, (443,)))

    def test_may_begin_with_a_byte_order_mark_or_end_lines_as_windows_does(self) -> None:
        text = "\ufeffports:\r\n  top: 7\r\n"
        assert parse(text.encode(), "f") == Config(ports=Ports(7))

    def test_may_hold_just_the_bounds(self) -> None:
        for text in (
            "poll: {interval: 100ms}",
            "poll: {interval: 1h}",
            "ports: {top: 0, always_shown: [1]}",
            "ports: {top: 10000, always_shown: [65535]}",
        ):
            parse(text.encode(), "f")


class TestMistakes:
    def test_are_all_told_at_once_with_path_and_line(self) -> None:
        text = """\
poll:
  interval: 5
  namespaces: some
colour: blue
ports:
  top: many
  always_shown:
    - 443
    - 0
    - 70000
    - "80"
  sort: true
web:
  listen_address: localhost:80
ports: {}
poll: 1
"""
        told = problems(text)
        assert [line.partition(": ")[0] for line in told] == [
            f"f:{number}" for number in (2, 3, 4, 6, 9, 10, 11, 12, 14, 15, 16)
        ]
        paths = [line.split(": ")[1] for line in told]
        assert paths == [
            "poll.interval",
            "poll.namespaces",
            "colour",
            "ports.top",
            "ports.always_shown[1]",
            "ports.always_shown[2]",
            "ports.always_shown[3]",
            "ports.sort",
            "web.listen_address",
            "ports",
            "poll",
        ]
        assert told[-2].endswith("duplicate key, first on line 5")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("wbe: {}", "f:1: wbe: unknown key; did you mean web?"),
            (
                "detect: {dead_peer: {fro: 5s}}",
                "f:1: detect.dead_peer.fro: unknown key; did you mean for?",
            ),
            (
                "ports: {colour: blue}",
                "f:1: ports.colour: unknown key: expected top, always_shown, top_per_namespace",
            ),
            (
                "alerting: {webhook: {basic_auth: {username: x}}}",
                "f:1: alerting.webhook.basic_auth.password_file: missing",
            ),
            ("poll:", "f:1: poll: expected keys and values"),
            ("poll: []", "f:1: poll: expected keys and values"),
            ("poll: fast", "f:1: poll: expected keys and values"),
            ("- poll", "f:1: expected keys and values"),
            ("poll", "f:1: expected keys and values"),
            ("ports: {always_shown: 443}", "f:1: ports.always_shown: expected a list"),
            ("ports: {always_shown: {443: 1}}", "f:1: ports.always_shown: expected a list"),
            ("ports: {top: '5'}", "f:1: ports.top: expected a valid integer"),
            ("ports: {top: 5.0}", "f:1: ports.top: expected a valid integer"),
            ("ports: {top: yes}", "f:1: ports.top: expected a valid integer"),
            ("ports: {top: null}", "f:1: ports.top: expected a valid integer"),
            ("ports: {top: .nan}", "f:1: ports.top: expected a valid integer"),
            ("ports: {top: -1}", "f:1: ports.top: expected greater than or equal to 0"),
            ("ports: {top: 10001}", "f:1: ports.top: expected less than or equal to 10000"),
            ("poll: {namespaces: some}", "f:1: poll.namespaces: expected 'host' or 'all'"),
            ("poll: {cpu_budget: 0}", "f:1: poll.cpu_budget: expected greater than 0"),
            ("ports: {top: 1}\nports: {}", "f:2: ports: duplicate key, first on line 1"),
            ("{ports: {top: 1, top: 1}}", "f:1: ports.top: duplicate key, first on line 1"),
            ("web: {listen_address: []}", "f:1: web.listen_address: expected at least one address"),
            (
                "web: {listen_address: [':80', ':80']}",
                "f:1: web.listen_address: the same address twice",
            ),
            ("? [a, b]\n: 1", "f:1: a key must be a word"),
        ],
    )
    def test_are_told_in_plain_words(self, text: str, message: str) -> None:
        assert problem(text) == message

    @pytest.mark.parametrize("value", ["5", "0.5", "five", "5 s", "-5s", "''", "5S", "1s1h", "[]"])
    def test_that_are_no_duration_are_told(self, value: str) -> None:
        expected = "f:1: poll.interval: expected a duration such as 5s, 10m or 1h"
        assert problem(f"poll: {{interval: {value}}}") == expected

    @pytest.mark.parametrize("value", ["0s", "99ms", "61m", "2d"])
    def test_that_are_out_of_bounds_are_told(self, value: str) -> None:
        assert re.match(
            r"f:1: poll.interval: expected (greater|less) than or equal to (0.1|3600)$",
            problem(f"poll: {{interval: {value}}}"),
        )

    def test_of_a_duplicate_keep_the_first_value_checked(self) -> None:
        told = problems("ports: {top: x}\nports: {top: 1}")
        assert [line.split(": ")[:2] for line in told] == [["f:1", "ports.top"], ["f:2", "ports"]]

    def test_in_text_that_is_no_yaml_are_told_with_their_line(self) -> None:
        for text in ("poll: {}\nports: {", "poll: {}\n\tports: 1", "poll: {}\n---\npoll: {}"):
            assert re.match(r"f:2: not YAML: .+", problem(text))


class TestHostileFiles:
    def test_larger_than_any_configuration_are_refused_unread(self, tmp_path: Path) -> None:
        file = tmp_path / "huge.yaml"
        with file.open("wb") as opened:
            opened.truncate(1 << 40)  # a terabyte of nothing, which reading would not survive
        with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
            load(file)

    @pytest.mark.parametrize("text", [b"\xff\xfe", b"a: \x80", "a: ü".encode("latin-1")])
    def test_that_are_not_utf8_are_refused(self, text: bytes) -> None:
        assert "not UTF-8 text (byte " in problem(text)

    @pytest.mark.parametrize("text", [b"\x7fELF\x02\x01\x01\0\0\0", b"\0" * 100, b"a\x1b[31m: 1"])
    def test_that_are_binary_are_refused(self, text: bytes) -> None:
        assert problem(text).startswith("f:1: not ")

    @pytest.mark.parametrize(
        "text",
        [
            "a: &anchor 1",
            "a: *alias",
            "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]",
            "&a a: 1",
            "poll: &a {interval: 5s}",
        ],
    )
    def test_with_anchors_or_aliases_are_refused(self, text: str) -> None:
        assert problem(text) == "f:1: not YAML: anchors and aliases are not supported"

    @pytest.mark.parametrize(
        "text",
        [
            "ports: {top: !python/object/apply:os.system 5}",
            "ports: {top: !!python/object/apply:os.system [id]}",
            "ports: {top: !local 5}",
        ],
    )
    def test_with_unknown_tags_are_refused(self, text: str) -> None:
        assert problem(text).startswith("f:1: ")

    @pytest.mark.parametrize("place", ["!local {top: 5}", "!!python/dict {top: 5}", "!!map {}"])
    def test_with_tags_on_mappings_and_lists_are_refused_too(self, place: str) -> None:
        problem(f"ports: {place}")
        problem("ports: {always_shown: !!set [5]}")

    @pytest.mark.parametrize("tag", ["int", "float", "bool", "timestamp", "binary", "null", "str"])
    @pytest.mark.parametrize("value", ["''", "x", "[]", "{}"])
    def test_whose_tag_belies_the_value_are_refused(self, tag: str, value: str) -> None:
        problem(f"ports: {{top: !!{tag} {value}}}")

    @pytest.mark.parametrize("depth", [10, 100, 150, 205, 250, 300, 400, 50_000])
    def test_that_nest_deeply_are_refused(self, depth: int) -> None:
        for text in ("[" * depth + "]" * depth, "{a: " * depth + "1" + "}" * depth, "- " * depth):
            told = problem(text)
            assert told.startswith("f:1: ")
            assert "JSON" not in told, "the file is YAML; what it becomes on the way is our affair"

    @pytest.mark.parametrize(
        "value",
        [
            "9" * 100,
            "9" * 5000,
            "0x" + "f" * 5000,
            "0b" + "1" * 20_000,
            "0" + "7" * 6000,
            "59:" * 3000 + "59",
            "1" + "0" * 400 + ".0",
            ".inf",
        ],
        ids=["100", "5000", "hexadecimal", "binary", "octal", "sexagesimal", "float", "inf"],
    )
    def test_with_endless_numbers_are_refused(self, value: str) -> None:
        told = problem(f"poll: {{}}\nports: {{top: {value}}}")
        assert told.startswith("f:2: ports.top: ")
        assert len(told) < 300

    @pytest.mark.parametrize("value", ["2001-01-01", "2001-12-14t21:59:43.10-05:00"])
    def test_with_dates_are_refused_as_any_other_word(self, value: str) -> None:
        told = problem(f"poll: {{}}\nports: {{top: {value}}}")
        assert told == "f:2: ports.top: expected a valid integer"

    def test_with_dates_that_never_were_are_refused_where_they_stand(self) -> None:
        told = problems("poll: {interval: 5}\nports: {top: 2001-13-45}")
        assert [line.split(": ")[:2] for line in told] == [
            ["f:1", "poll.interval"],
            ["f:2", "ports.top"],
        ]

    @pytest.mark.parametrize(
        "character", ["\\e", "\\n", "\\r", "\\0", "\\x9b", "\\u202e", "\\u2028", "\\uD800", "\\a"]
    )
    def test_with_control_characters_never_reach_the_terminal(self, character: str) -> None:
        for text in (
            f'"{character}[31mred": 1',
            f'poll: {{"{character}": 1}}',
            f'poll: {{interval: "{character}"}}',
            f'poll: {{namespaces: "{character}"}}',
            f'web: {{listen_address: "{character}"}}',
            f'"{character}": 1\n"{character}": 2',
        ):
            for told in problems(text):
                assert told.isprintable()
                assert "JSON" not in told

    def test_with_endless_keys_are_told_in_a_line_one_can_read(self) -> None:
        assert len(problem(f"? {'k' * 100_000}\n: 1")) < 300

    @given(st.binary(max_size=200))
    @example(b"a: !!int ''")
    @example(b"'\\")
    def test_of_any_bytes_are_read_or_refused(self, data: bytes) -> None:
        _read_or_refused(data)

    @given(
        st.lists(
            st.sampled_from(
                [
                    *["poll", "ports", "top", "always", "interval", ": ", "- ", "\n", "\n  "],
                    *["{", "}", "[", "]", ", ", '"', "'", "!", "!!int ", "&a ", "*a", "? ", "| "],
                    *["# ", "%", "5s", "0x", "_", "1:", "2001-02-30", ".5", "~", "=", "<<", "---"],
                    *["\\u", "\t", "@"],
                ]
            ),
            max_size=12,
        ).map("".join)
    )
    def test_of_any_yaml_are_read_or_refused(self, text: str) -> None:
        _read_or_refused(text.encode())


def _read_or_refused(data: bytes) -> None:
    told = ["f:1: nothing wrong"]
    try:
        parse(data, "f")
    except ConfigError as error:
        told = error.problems
    assert told
    for line in told:
        assert re.match(r"f:\d+: .+", line)
        assert line.isprintable()


class TestLoading:
    def test_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "sockmon.yaml"
        file.write_text("ports: {top: 7}")
        assert load(file) == Config(ports=Ports(7))

    def test_a_file_that_is_not_there_says_so(self, tmp_path: Path) -> None:
        for missing in (tmp_path / "none.yaml", tmp_path / "none" / "none.yaml"):
            with pytest.raises(ConfigError, match=r"cannot read it: No such file or directory$"):
                load(missing)

    def test_a_directory_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot read it: not a regular file"):
            load(tmp_path)

    def test_mistakes_name_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "sockmon.yaml"
        file.write_text("\n\nprots: {}")
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert caught.value.problems == [f"{file}:3: prots: unknown key; did you mean ports?"]


class TestListenAddresses:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("127.0.0.1:10776", "127.0.0.1", 10776),
            ("0.0.0.0:0", "0.0.0.0", 0),
            (":9100", "", 9100),
            ("[::1]:65535", "::1", 65535),
            ("[::]:80", "::", 80),
            ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80),
        ],
    )
    def test_are_an_address_and_a_port_and_print_as_such(
        self, text: str, host: str, port: int
    ) -> None:
        address = ListenAddress.parse(text)
        assert (address.host, address.port) == (host, port)
        assert str(address) == text
        assert ListenAddress.parse(address) is address

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
            "127.0.0.1:http",
            "127.0.0.1:80 ",
            "127.0.0.1:\u0661",
            "127.0.0.1:123456",
            "127.0.0.256:80",
            "localhost:80",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[]:80",
            "[[::1]]:80",
            "[fe80::g]:80",
            "*:80",
            80,
            None,
            ["127.0.0.1:80"],
        ],
    )
    def test_that_are_none_are_refused(self, text: object) -> None:
        with pytest.raises(ValueError, match=r"expected ADDRESS:PORT such as"):
            ListenAddress.parse(text)


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("0s", 0),
            ("1ms", 0.001),
            ("500ms", 0.5),
            ("5s", 5),
            ("10m", 600),
            ("1h", 3600),
            ("2d", 172_800),
            ("1h30m", 5400),
            ("1d2h3m4s5ms", 93_784.005),
            ("90m", 5400),
            ("5m500ms", 300.5),
            ("007s", 7),
        ],
    )
    def test_are_as_prometheus_writes_them(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        "text",
        [
            *["", "s", "5", "5 s", " 5s", "5s ", "5s\n", "5S", "5sec", "1.5s", "-5s", "+5s"],
            *["5s5s", "5s1h", "1m1h", "5ms1s", "1e3s", "inf", "9" * 40 + "s", "\u0665s"],
            *[5, 5.0, None, True],
        ],
    )
    def test_that_are_none_are_refused(self, text: object) -> None:
        with pytest.raises(ValueError, match="expected a duration such as 5s, 10m or 1h"):
            parse_duration(text)

    @given(st.integers(0, 10**10))
    def test_are_written_so_that_they_read_the_same(self, milliseconds: int) -> None:
        seconds = milliseconds / 1000
        assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)

    @pytest.mark.parametrize("text", ["0ms", "1ms", "5s", "1h30m", "1d", "1m500ms"])
    def test_are_written_as_short_as_they_can_be(self, text: str) -> None:
        assert format_duration(parse_duration(text)) == text

    @pytest.mark.parametrize(
        ("seconds", "told"),
        [
            (0.4, "0s"),
            (61.5, "1m2s"),
            (599, "9m59s"),
            (599.6, "10m"),
            (1833, "31m"),
            (3599, "1h"),
            (7500, "2h5m"),
            (35_999, "10h"),
            (58_012, "16h"),
            (86_399, "1d"),
            (90_000, "1d1h"),
            (950_400, "11d"),
        ],
    )
    def test_are_told_to_people_as_precisely_as_they_need_it(
        self, seconds: float, told: str
    ) -> None:
        assert roughly(seconds) == told

    @given(st.floats(1, 10**9))
    def test_are_told_to_people_within_a_twentieth(self, seconds: float) -> None:
        assert parse_duration(roughly(seconds)) == pytest.approx(seconds, rel=0.05, abs=0.5)


def test_the_defaults_pass_their_own_checks() -> None:
    defaults = f"""
        poll: {{interval: {format_duration(Poll().interval)}, namespaces: {Poll().namespaces}}}
        web: {{listen_address: "{Web().listen_address[0]}"}}
        ports: {{top: {Ports().top}, always_shown: {list(Ports().always_shown)}}}
    """
    assert settings.parse(defaults.encode(), "f") == Config()
