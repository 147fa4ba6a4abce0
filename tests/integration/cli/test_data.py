def test_describe_counts_each_retailer(cli, ratings):
    outcome = cli("data", "describe", ratings)
    assert outcome.code == 0
    assert outcome.err == ""
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "Customers" in outcome.out
    for number in range(5):
        assert f"\nretailer-{number} " in outcome.out


def test_describe_as_json_is_one_object(cli, ratings):
    outcome = cli("data", "describe", ratings, "--format", "json")
    assert outcome.err == ""
    assert outcome.json["source"] == "tutorial"
    assert [member["name"] for member in outcome.json["members"]] == [
        f"retailer-{number}" for number in range(5)
    ]
    assert all(300 <= member["transactions"] <= 600 for member in outcome.json["members"])


def test_the_task_picks_what_a_source_generates(cli):
    out = cli("data", "describe", "--data", "tutorial", "--task", "demand", "--format=json").json
    assert out["catalogue"] == 100
