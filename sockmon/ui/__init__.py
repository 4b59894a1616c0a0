"""Where people and Prometheus meet sockmon: the command line and the web server."""
