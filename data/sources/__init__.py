"""One file per source; its one public function has the file's name and returns what `data/__init__.py` describes."""
