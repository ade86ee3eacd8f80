"""The scripts of train/launch start each process as its cluster does, and pass on how it ended.

The programs of clusters are not needed: a folder in front of PATH has others of their names, which
do the part of it that counts here.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from benchmarks.processes import BY_LOCALHOST, START, Runs, difference, environment_of, free_port

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "train" / "launch"
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))

ECHO = 'echo "CALLED $@"'
"""A program that says how it was called."""

JOIN = f"""{BY_LOCALHOST}
from transformers_jax import processes
processes.connect(sys.argv[-1], 20)
import jax
processes.agree("arguments", dict(enumerate(sys.argv[1:-1])))
import os
line = "JOINED %d of %d\\n" % (jax.process_index(), jax.process_count())
os.write(1, line.encode())  # whole: processes share the stream
processes.disconnect()
"""
"""What a run does first."""

SRUN = """
while [[ $1 == -* ]]; do echo "OPTION $1"; shift; done
export SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost SLURM_STEP_NUM_NODES=1
for ((i = 0; i < 2; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & tasks[i]=$!
done
code=0
for task in "${tasks[@]}"; do wait "$task" || code=$?; done
exit $code
"""
"""srun: two tasks on this machine, and the exit code of one that failed."""


@pytest.fixture
def commands(tmp_path):
    """commands(name=script, ...): the variables of a process whose PATH has these programs."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(**scripts):
        for name, script in scripts.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!/bin/bash\n{script}\n")
            path.chmod(0o755)
        kept = {name: value for name, value in environment_of().items() if "SLURM" not in name}
        return {**kept, "PATH": f"{folder}:{os.environ['PATH']}"}

    return make


def python(program):
    """A script that runs a Python program with its own arguments."""
    return f"exec {sys.executable} -c '{program}' \"$@\""


def launch(script, *arguments, env, cwd):
    return subprocess.run(
        [LAUNCH / script, *map(str, arguments)],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_bash_and_says_what_it_expects(script, commands, tmp_path):
    subprocess.run(["bash", "-n", LAUNCH / script], check=True)
    assert os.access(LAUNCH / script, os.X_OK)
    done = launch(script, env=commands(srun=ECHO), cwd=tmp_path)
    assert done.returncode == 2
    assert "CONFIG [--flag value ...]" in done.stderr


def test_shellcheck_finds_nothing():
    subprocess.run(["shellcheck", *LAUNCH.glob("*.sh")], check=True)


# ---------------------------------------------------------------- this machine


@pytest.mark.parametrize("out", [["--out", "runs/a/"], ["--out=runs/a"], []])
def test_local_starts_each_process_and_writes_its_log_beside_the_run(out, commands, tmp_path):
    late = '[[ "$*" != *,0 ]] || { sleep 1; exit 3; }'  # at its end the others are ended
    env = commands(transformers_jax=f"{ECHO}; {late}")
    done = launch("local.sh", 3, "c.py", *out, "--note", "two words", env=env, cwd=tmp_path)
    logs = tmp_path / ("runs" if out else "")
    name = "a" if out else "local"
    lines = [done.stdout, *((logs / f"{name}-{n}.log").read_text() for n in (1, 2))]
    assert done.returncode == 3  # of process 0
    ports = set()
    for index, line in enumerate(lines):
        found = re.search(rf"CALLED pretrain c.py .*--distributed localhost:(\d+),3,{index}$", line)
        assert found, line
        assert "--note two words" in line
        ports.add(found[1])
    assert len(ports) == 1
    made = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {f"{name}-1.log", f"{name}-2.log", "transformers-jax"}


def test_local_passes_a_signal_on_and_waits(commands, tmp_path):
    wait = "trap 'echo SAVED >> ends; exit 143' TERM; echo began >> ends; sleep 60 & wait"
    env = commands(transformers_jax=wait)
    process = subprocess.Popen([LAUNCH / "local.sh", "2", "c.py"], env=env, cwd=tmp_path)
    ends, end = tmp_path / "ends", time.monotonic() + 30
    while not ends.exists() or ends.read_text().count("began") < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert ends.read_text().count("SAVED") == 2


# ---------------------------------------------------------------- clusters


def test_processes_of_srun_find_each_other(commands, tmp_path):
    env = commands(transformers_jax=python(JOIN), srun=SRUN)
    env |= {"SLURM_JOB_ID": str(free_port()), "SLURM_CPUS_PER_TASK": "8"}
    done = launch("slurm.sh", "c.py", "--note", "two words", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(re.findall("JOINED.*", done.stdout)) == ["JOINED 0 of 2", "JOINED 1 of 2"]
    assert "OPTION --cpus-per-task=8" in done.stdout


@pytest.mark.parametrize(("code", "queued"), [(143, True), (1, False), (0, False)])
def test_slurm_queues_a_job_again_that_was_stopped(code, queued, commands, tmp_path):
    env = commands(transformers_jax=f"exit {code}", srun=SRUN, scontrol=ECHO)
    env["SLURM_JOB_ID"] = "17"
    done = launch("slurm.sh", "c.py", env=env, cwd=tmp_path)
    assert done.returncode == code
    assert ("CALLED requeue 17" in done.stdout) == queued


def test_processes_of_open_mpi_find_each_other_by_its_variables(tmp_path):
    started = []
    job = 4096 * free_port()
    for index in range(2):
        env = environment_of() | {
            "OMPI_MCA_orte_hnp_uri": f"{job}.0;tcp://127.0.0.1:34911",
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_RANK": str(index),
            "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
        }
        command = [sys.executable, "-c", JOIN, "auto"]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        started.append(process)
    for index, process in enumerate(started):
        assert f"JOINED {index} of 2" in process.communicate(timeout=300)[0]


MPIRUN = "mpirun --allow-run-as-root --oversubscribe -np 2"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="Open MPI is not installed")
@pytest.mark.parametrize(
    "where", ["auto", "localhost:PORT,$OMPI_COMM_WORLD_SIZE,$OMPI_COMM_WORLD_RANK"]
)
def test_processes_of_mpirun_find_each_other(where, commands):
    env = commands(transformers_jax=python(JOIN))
    where = where.replace("PORT", str(free_port()))
    command = [*MPIRUN.split(), "bash", "-c", f"transformers-jax {where}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(re.findall("JOINED.*", done.stdout)) == ["JOINED 0 of 2", "JOINED 1 of 2"]


def test_gcloud_is_given_the_command_for_all_machines(commands, tmp_path):
    env = commands(gcloud='printf "%s\\n" "$@"', transformers_jax='printf "%s\\n" "$@"')
    flags = ["c.py", "--note", "two words; $HOME"]
    done = launch("cloud_tpu.sh", "slice", "zone-a", *flags, env=env, cwd=tmp_path)
    *before, command = done.stdout.splitlines()
    expected = "compute tpus tpu-vm ssh slice --zone zone-a --worker=all --command"
    assert before == expected.split()
    there = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True)
    assert there.stdout.splitlines() == ["pretrain", *flags, "--distributed", "auto"]


def test_the_jobset_of_gke_starts_one_process_for_each_machine():
    spec = yaml.safe_load((LAUNCH / "gke.yaml").read_text())["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    container = pod["containers"][0]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert job["parallelism"] == job["completions"] == rows * columns / chips
    assert spec["failurePolicy"]["maxRestarts"] > 0
    assert container["args"][-2:] == ["--distributed", "auto"]
    assert (ROOT / container["command"][-1]).exists()
    out = Path(container["args"][container["args"].index("--out") + 1])
    assert str(out.parent) == container["volumeMounts"][0]["mountPath"]
    from jax._src.clusters.cloud_tpu_cluster import coordinator_port

    assert int(coordinator_port) in [port["containerPort"] for port in container["ports"]]


# ---------------------------------------------------------------- whole runs

SMALL = """--steps 3 --schedule-steps 3 --data.batch 8 --data.length 16 --model.n-layer 1
    --model.n-embd 16 --model.n-head 2 --save-every 3 --evaluation.every 3 --evaluation.batches 1
    --sample.count 0 --log-every 1 --optimizer.schedule.warmup 2 --peer-timeout 120""".split()


@pytest.mark.slow
def test_runs_that_scripts_start_have_the_losses_of_one_process(commands, tmp_path):
    runs = Runs(tmp_path, SMALL, devices=4)
    runs.run("one", 1)
    env = commands(transformers_jax=python(f"{START}").replace("$@", "${@:2}"), srun=SRUN)
    env |= {"DEVICES": "2", "SLURM_JOB_ID": str(free_port())}
    flags = [ROOT / runs.config, *SMALL, "--data.path", tmp_path / "text.txt"]
    starts = {"local": ["local.sh", "2"], "slurm": ["slurm.sh"]}
    if shutil.which("mpirun"):
        starts["mpirun"] = []
    for name, start in starts.items():
        arguments = [*start[1:], *flags, "--out", tmp_path / name]
        if start:
            done = launch(start[0], *arguments, env=env, cwd=tmp_path)
        else:
            command = [*MPIRUN.split(), "transformers-jax", "pretrain", *map(str, arguments)]
            command += ["--distributed", "auto"]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert sorted(runs.losses(name)) == [1, 2, 3]
        assert difference(runs.losses(name), runs.losses("one")) < 1e-6 * runs.losses("one")[1]
