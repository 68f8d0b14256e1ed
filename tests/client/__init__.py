"""Tests of the client: calls, handles, journeys, against a small server that answers as it is told to."""
