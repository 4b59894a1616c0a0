"""The memory that the program counts in and the daemon reads: a ring of rows. Pure.

Each (network namespace, direction, port) is a group. The program gives each group a row when it
first counts something for it. Rows are numbered from 1, in the order in which they are given; row
number n is at place n % ROWS of the ring. The daemon has two words that the program reads:
rows up to `retired` are not counted into any more, so that their groups get new rows; rows up to
`freed` may be overwritten. What happens when no row is free is counted in one row per direction,
without namespace and port. So the memory is bounded, and no event is lost.

The entries of the array, of WORDS words of 64 bits each:

    0                   word 0: how many rows were given
    1, 2, 3             what no row was free for, by direction
    4 to 4 + ROWS - 1   the ring

A row: its number, its group's key, and the columns of model/connection_events.py.
A key: namespace's inode << 32 | direction << 16 | port.
"""

from sockmon.model.connection_events import COLUMNS

#: Changes with each change of the layout, or of the columns.
VERSION = 2

ROWS = 2048  # a power of two
FIRST_ROW = 4
ENTRIES = FIRST_ROW + ROWS
NUMBER, KEY, FIRST_COLUMN = 0, 1, 2
WORDS = FIRST_COLUMN + COLUMNS
PAGE_BYTES = ENTRIES * WORDS * 8

#: The daemon's words.
RETIRED, FREED = 0, 1
CONTROL_BYTES = 16

INBOUND, OUTBOUND = 1, 2


def key(netns: int, direction: int, port: int) -> int:
    """Return a group's key."""
    return netns << 32 | direction << 16 | port
