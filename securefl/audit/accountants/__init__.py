"""The auditor's accountants, independent of those that charged the run."""
