"""What methods are made of: the record, memory, schedules, masks, combinations, and kits for kinds of methods."""
