"""What outlives the process: files, their lock, the thread that writes them."""
