"""What knows devices, processes and disks."""
