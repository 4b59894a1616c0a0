"""What sockmon costs, beside the kernel's own floor and other programs: `python -m bench`."""
