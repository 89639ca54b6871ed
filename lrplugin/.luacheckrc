std = "lua51"
max_line_length = false -- a line over 120 is a text for people (tests/lightroom/test_files.py)
read_globals = { "import", "LOC", "_PLUGIN", "WIN_ENV", "MAC_ENV" }
files["spec"] = { std = "+busted" }
