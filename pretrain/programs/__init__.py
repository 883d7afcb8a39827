"""Programs: methods of several runs, as plain functions over the stages of `stages.py`; one public function a file.

A function's first argument is the program's directory, of which each stage has a folder; what comes by keyword is the
config: `config.program` and, under names of their own, the configs of the runs.
"""
