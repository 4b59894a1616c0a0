"""An hour of polls and a day of minutes, in bounded memory and in a file."""
