"""What a summary says of released scores."""

import math

from securefl.federation.runs.summary_notes import score_notes
from securefl.federation.scores.statement import ReleasedScore, ReleasedScores


def test_notes_have_value_error_share_and_survivors():
    """One sentence an arm, in the metrics' own words."""
    metrics = {"hr@10": ReleasedScore(0.4312, 0.0321), "other": ReleasedScore(math.nan, math.nan)}
    found = ReleasedScores({"released": metrics}, ("a", "b", "c"), 0.2, 16.3, {"auc": "no bound"})
    (note,) = score_notes(found)
    for part in ("released model", "3 retailers", "0.2 of epsilon", "HR@10", "±", "drowned"):
        assert part in note


def test_notes_name_the_reason_where_no_score_left():
    """A run under a budget without scores says so."""
    assert list(score_notes(ReleasedScores(withheld={"all": "privacy.scores is 0"}))) == [
        "No score was released: privacy.scores is 0."
    ]


def test_exact_scores_have_no_note():
    """Without a budget the table has the same figures."""
    exact = ReleasedScores({"federated": {"hr@10": ReleasedScore(0.4, 0.0)}}, ("a", "b", "c"))
    assert list(score_notes(exact)) == list(score_notes(None)) == []
