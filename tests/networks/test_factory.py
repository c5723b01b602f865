import pytest
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.factory import load_network

SOURCE = """
from torch import nn
def make(): return nn.Linear(2, 3)
def needs(width): return nn.Linear(width, 3)
def breaks(): raise RuntimeError("no weights\\nhere")
def text(): return "net"
constant = 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "factory_test_net.py").write_text(SOURCE)
    (tmp_path / "factory_test_broken.py").write_text("def make(:\n")


def test_a_module_in_the_current_folder_is_found():
    assert isinstance(load_network("factory_test_net:make"), nn.Linear)


def test_a_module_of_a_package_is_found():
    assert load_network("hasten.networks.backbone:digits_resnet").exit_names[-1] == "final"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("factory_test_net", "MODULE:FACTORY"),
        (":make", "MODULE:FACTORY"),
        ("factory_test_net:", "MODULE:FACTORY"),
        ("factory_test_absent:make", "ModuleNotFoundError"),
        ("factory_test_broken:make", "SyntaxError"),
        ("factory_test_net:mak", "got 'mak', expected a function of the module .*make"),
        ("factory_test_net:constant", "got 'constant'"),
        ("factory_test_net:needs", "TypeError: needs"),
        ("factory_test_net:breaks", "RuntimeError: no weights here"),
        ("factory_test_net:text", "got 'str', expected a torch.nn.Module"),
    ],
)
def test_what_cannot_be_loaded_is_explained_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        load_network(name)
    assert "\n" not in str(caught.value)
