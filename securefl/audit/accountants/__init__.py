"""The auditor's own accountants, apart from those that charged the run."""
