"""The services that hosts offer by themselves."""
