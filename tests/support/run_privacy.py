"""The privacy statement of a run with one member, for tests of what is said of runs."""

from securefl.privacy.statement import MemberPrivacy, RunPrivacy

PRIVACY = RunPrivacy(
    unit="customer",
    adjacency="add or remove one customer",
    mechanism="sampled Gaussian",
    against="everyone",
    protects="one customer",
    records_per_customer=None,
    accountant="rdp",
    delta=1e-5,
    members=(MemberPrivacy("retailer-0", 2.0, 2.5, 1.0, 0.5, 20, 2.0, 2.0, 3.0),),
)
