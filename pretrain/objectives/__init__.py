"""One paper, one file, one public function of the file's name, returning a `pretrain.method.objective.Objective`."""
