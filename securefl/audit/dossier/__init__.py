"""The dossier of one run, for the members' lawyers and data protection officers."""
