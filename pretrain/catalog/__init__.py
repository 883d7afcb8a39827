"""The catalog: what there is, read from files without importing them. `facts` reads, `claims` compares, `pages` says."""
