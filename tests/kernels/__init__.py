"""sockmon and its live tests on other kernels, booted as User Mode Linux."""
