"""The spine on made-up objectives: what holds for one holds for all."""
