"""The real parties over a broker in virtual time: hours of faults in seconds, and replayable."""
