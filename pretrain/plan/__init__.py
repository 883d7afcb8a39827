"""What a config needs on machines that one does not have: memory, arithmetic, communication, time."""
