"""Where a run runs: this machine, a SLURM cluster, Kubernetes; and tables of many runs."""
