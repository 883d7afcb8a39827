"""What the project has, read from its files without importing them: `facts` reads, `claims` compares, `pages` says."""
