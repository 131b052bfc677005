"""The client in grpc-java, made ready when it is first needed."""

import subprocess
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from protos.inference import inference_pb2
from protos.nearline.v1 import model_status_pb2, recommender_pb2
from tests.servers.maven import REPOSITORY, find_jars, find_java

_SOURCE = Path(__file__).parent / "java"
_WHAT = "grpc-java"


def run_client(address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile it into a folder, and run it to its end; ServerError says what to install."""
    java, jars = find_java(_WHAT), find_jars(_WHAT, _SOURCE / "pom.xml", REPOSITORY / ".tools" / "jars")
    (compiler,) = jars.glob("ecj-*.jar")
    classpath = ":".join(map(str, sorted(jars.glob("*.jar"))))
    source, descriptors = _SOURCE / "Client.java", folder / "descriptors"
    descriptors.write_bytes(_descriptors().SerializeToString())
    compile_it: list[str | Path] = [java, "-jar", compiler, "-17", "-proc:none", "-cp", classpath, "-d", folder, source]
    subprocess.run(compile_it, check=True, timeout=240)
    host, _, port = address.rpartition(":")
    ask: list[str | Path] = [
        java,
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-cp",
        f"{folder}:{classpath}",
        "Client",
        host,
        port,
        descriptors,
    ]
    return subprocess.run(ask, capture_output=True, text=True, timeout=240, check=False)


def _descriptors() -> FileDescriptorSet:
    """Of all services that it calls; what a file needs stands before it."""
    files: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        for needed in file.dependencies:
            add(needed)
        files[file.name] = file

    for module in (recommender_pb2, model_status_pb2, inference_pb2):
        add(module.DESCRIPTOR)
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return found
