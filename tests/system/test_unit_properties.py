"""What systemctl prints of units, as values."""

from lbhook.system import unit_properties


def test_a_block_for_each_unit() -> None:
    """A value may hold what stands between name and value; a line that is no property is none."""
    shown = "Id=a.service\nJob=\nExecStart={ argv[]=a b=c }\n\nId=b.timer\nsomething\n"
    assert unit_properties.read(shown) == [
        {"Id": "a.service", "Job": "", "ExecStart": "{ argv[]=a b=c }"},
        {"Id": "b.timer"},
    ]
    assert unit_properties.read("") == [{}]


def test_the_words_of_a_value() -> None:
    """Quoted or, with half a quote in them, as they are."""
    assert unit_properties.words('A=1 "B=2 3"') == ["A=1", "B=2 3"]
    assert unit_properties.words("A=1 B=it's") == ["A=1", "B=it's"]
