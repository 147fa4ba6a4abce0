"""`python -m securefl`: the command line, which lies above this package and is run by its name."""

import runpy

runpy.run_module("securefl_cli", run_name="__main__")
