"""Where the program that counts connections cannot be loaded, one line says why: in guests."""

import subprocess
import sys


def test_what_the_kernel_lacks_is_named() -> None:
    """No BTF, as in User Mode Linux; or before Linux 5.12."""
    command = [sys.executable, "-m", "sockmon", "count", "--events", "1s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "CONFIG_DEBUG_INFO_BTF" in line or "Linux 5.12 or newer" in line
