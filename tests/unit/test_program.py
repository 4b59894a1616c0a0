"""What a process is called: by its program, never by its interpreter only where more is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.program import LONGEST, program


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python3 /srv/orders.py --port 80", "python3 orders.py"),
        ("/usr/bin/python3.11 -u -B orders.py", "python3.11 orders.py"),
        ("python3 -X dev -W error orders.py", "python3 orders.py"),
        ("python3 -m http.server 8000", "python3 -m http.server"),
        ("python3 -c pass", "python3 -c"),
        ("python3", "python3"),
        ("/usr/bin/python3 /usr/bin/gunicorn shop:app", "python3 gunicorn"),
        ("java -Xmx1g -cp a.jar:b.jar -Dx=y com.x.Main arg", "java com.x.Main"),
        ("/opt/jdk/bin/java -XX:+UseG1GC -jar /opt/shop.jar", "java shop.jar"),
        ("java @arguments -p mods -m shop/com.x.Main", "java com.x.Main"),
        ("node --inspect -r dotenv/config /srv/server.js", "node server.js"),
        ("node -e 1", "node -e"),
        ("perl -w -I lib feed.pl", "perl feed.pl"),
        ("ruby -ne puts", "ruby -ne"),
        ("bash -x backup.sh", "bash backup.sh"),
        ("sh -c sleep", "sh -c"),
        ("bash -lc sleep", "bash -lc"),
        ("dotnet /app/Shop.dll", "dotnet Shop.dll"),
        ("php artisan serve", "php artisan"),
        ("sleep 1800", "sleep"),
        ("-bash", "bash"),
        ("/usr/lib/postgresql/15/bin/postgres -D /data", "postgres"),
        ("/opt/a-program-with-a-long-name", "a-program-with-a-long-name"),
    ],
)
def test_a_command_line_names_it(command: str, name: str) -> None:
    assert program(command.split(), "comm-of-15-char") == name


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("php-fpm: pool www", "php-fpm: pool www"),
        ("php-fpm8.2: pool www", "php-fpm8.2: pool www"),
        ("php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", "php-fpm: master process"),
        ("nginx: worker process", "nginx"),
        ("nginx: master process /usr/sbin/nginx -g daemon off;", "nginx"),
        ("gunicorn: worker [shop]", "gunicorn: worker [shop]"),
        ("postgres: alice shop 10.0.0.7(51234) idle in transaction", "postgres"),
        ("sshd: root@pts/0   ", "sshd"),
        ("puma: cluster worker 0: 1234 [shop]", "puma"),
        ("puma 5.6.5 (tcp://0.0.0.0:3000) [shop]", "puma"),
        ("unicorn_rails worker[0] -c /etc/unicorn.rb -D", "unicorn_rails"),
        ("sidekiq 6.5.1 shop [3 of 5 busy]", "sidekiq"),
        ("[celeryd: celery@host:MainProcess] -active- (worker)", "celeryd"),
        ("/usr/bin/redis-server 127.0.0.1:6379", "redis-server"),
        ("/usr/bin/python3 /usr/bin/salt-minion MultiMinion", "python3 salt-minion"),
    ],
)
def test_a_title_names_it_without_what_changes(title: str, name: str) -> None:
    assert program([title, ""], "comm", "/usr/bin/ruby") == name


def test_a_path_with_spaces_is_no_title() -> None:
    path = "/opt/My Shop/shop server"
    assert program([path], "shop server", path) == "shop server"
    assert program([path, "-x"], "shop server", path) == "shop server"


def test_the_interpreter_is_known_by_its_executable_too() -> None:
    assert program(["orders", "/srv/orders.py"], "orders", "/usr/bin/python3") == "orders orders.py"


def test_without_a_command_line_the_kernels_name_is_left() -> None:
    assert program([], "kworker/0:1") == "kworker/0:1"
    assert program([""], "", "/usr/bin/x") == "x"
    assert program([], "") == "?"


words = st.text(max_size=20) | st.sampled_from(
    ["python3", "-m", "java", "-cp", "-jar", "-c", "x:y"]
)


@given(st.lists(words, max_size=6), st.text(max_size=15), st.text(max_size=20))
def test_whatever_it_calls_itself_the_name_is_one_bounded_line(
    arguments: list[str], comm: str, executable: str
) -> None:
    name = program(arguments, comm, executable)
    assert name
    assert name.isprintable()
    assert len(name) <= LONGEST + len("...")
