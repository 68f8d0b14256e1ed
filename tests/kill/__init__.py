"""Hosts are killed by SIGKILL at every named point of a paglet's life, and nothing is lost, doubled or left behind."""
