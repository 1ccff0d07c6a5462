from vilbert.training.machine import cpu_name, machine_of_training


def test_the_cpu_is_called_as_linux_calls_it():
    assert cpu_name("processor\t: 0\nmodel name\t: A CPU @ 2.50GHz\nmodel name\t: Another\n") == "A CPU @ 2.50GHz"


def test_elsewhere_it_has_some_name():
    assert cpu_name("")


def test_a_machine_has_cores_and_versions():
    told = machine_of_training()
    assert told["cores"] >= 1
    assert all(told[name] for name in ("cpu", "python", "torch"))
