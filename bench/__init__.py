"""What sockmon, the kernel's own dumps and other programs cost: `python -m bench`."""
