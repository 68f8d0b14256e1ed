"""The tests: each file named after the module whose promises it keeps."""
