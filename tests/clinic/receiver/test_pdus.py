"""However a peer cuts a message into PDUs, what is kept is the data set, or nothing."""

import io
import itertools

import pytest

from tests.helpers.clinic.images import CR
from tests.helpers.clinic.nodes import (
    association,
    echo,
    eventually,
    image,
    node_settings,
    receiver,
    states,
    store,
)

COMMAND, LAST = 1, 2


def large(folder):
    """A file of 300 kB whose bytes tell their place."""
    content = b"".join(number.to_bytes(4, "little") for number in range(75_000))
    return image(folder, changes={0x00091001: ("OB", content)})


def pdu(fragments, kind=4):
    """The bytes of a P-DATA-TF PDU with (context, control, data) fragments."""
    body = b"".join(
        (len(data) + 2).to_bytes(4, "big") + bytes([context, control]) + data
        for context, control, data in fragments
    )
    return bytes([kind, 0]) + len(body).to_bytes(4, "big") + body


def cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def as_data(context, pieces):
    """Fragments of a data set, the last of them marked."""
    *others, last = pieces
    return [(context, 0, piece) for piece in others] + [(context, LAST, last)]


def one_fragment_each(command, context, data):
    fragments = as_data(context, cut(data, 1000))
    return [pdu([command]), *(pdu([each]) for each in fragments)]


def several_fragments_each(command, context, data):
    fragments = as_data(context, cut(data, 700))
    groups = (fragments[at : at + 40] for at in range(0, len(fragments), 40))
    return [pdu([command]), *(pdu(group) for group in groups)]


def command_and_data_in_one(command, context, data):
    return [pdu([command, *as_data(context, cut(data, 100_000))])]


def end_without_data(command, context, data):
    fragments = as_data(context, [*cut(data, 90_000), b""])
    return [pdu([command]), *(pdu([each]) for each in fragments)]


def empty_fragments_between(command, context, data):
    pieces = itertools.chain.from_iterable((piece, b"") for piece in cut(data, 90_000))
    return [pdu([command]), *(pdu([each]) for each in as_data(context, [*pieces]))]


def larger_than_offered(command, context, data):
    return [pdu([command]), pdu(as_data(context, cut(data, 280_000)))]


def in_many_pieces(command, context, data):
    whole = b"".join(one_fragment_each(command, context, data))
    return cut(whole, 333)


VALID = (
    one_fragment_each,
    several_fragments_each,
    command_and_data_in_one,
    end_without_data,
    empty_fragments_between,
    larger_than_offered,
    in_many_pieces,
)


def send(sender, file, form):
    """Send a file over an association, in PDUs of a form; its data set."""
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dimse_primitives import C_STORE

    content = file.read_bytes()
    data = content[content.index(b"\x08\x00\x05\x00CS") :]
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CR, file.stem
    request.DataSet = io.BytesIO(data)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    context = sender.accepted_contexts[0].context_id
    first, *_ = message.encode_msg(context, 0)
    ((_, command),) = first.presentation_data_value_list
    for piece in form((context, command[0], command[1:]), context, data):
        sender.dul.socket.socket.sendall(piece)
    return data


@pytest.mark.parametrize("form", VALID)
def test_a_data_set_is_kept_whole(tmp_path, form):
    settings = node_settings(tmp_path)
    file = large(tmp_path)
    with receiver(settings) as spool:
        with association(settings, is_released=False) as sender:
            data = send(sender, file, form)
            eventually(lambda: states(spool)[0])
        assert (spool.folder / spool.next_image().file).read_bytes().endswith(data)
        eventually(lambda: not list(spool.incoming.iterdir()))
        assert store(settings, file).Status == 0  # and it is the same image


def half_of(command, context, data):
    return [pdu([command]), pdu([(context, 0, data[: len(data) // 2])])]


def fragment_beyond_its_pdu(command, context, data):
    bad = bytearray(pdu([(context, 0, data[:1000])]))
    bad[6:10] = (5000).to_bytes(4, "big")
    return [*half_of(command, context, data), bytes(bad)]


def fragment_without_a_control_byte(command, context, data):
    return [*half_of(command, context, data), b"\x04\0\0\0\0\x05\0\0\0\x01" + bytes([context])]


def pdu_beyond_the_limit(command, context, data):
    return [*half_of(command, context, data), b"\x04\0\x7f\xff\xff\xff" + bytes(1000)]


def pdu_of_no_kind(command, context, data):
    return [*half_of(command, context, data), pdu([(context, 0, b"x")], kind=9)]


def request_in_the_middle(command, context, data):
    return [*half_of(command, context, data), pdu([(context, 0, b"x")], kind=1)]


def command_in_the_middle(command, context, data):
    return [*half_of(command, context, data), pdu([command])]


def end_within_a_pdu(command, context, data):
    return [*half_of(command, context, data), pdu([(context, LAST, data[:1000])])[:-100]]


INVALID = (
    fragment_beyond_its_pdu,
    fragment_without_a_control_byte,
    pdu_beyond_the_limit,
    pdu_of_no_kind,
    request_in_the_middle,
    command_in_the_middle,
    end_within_a_pdu,
)


@pytest.mark.parametrize("form", INVALID)
def test_what_is_no_message_leaves_nothing_and_keeps_no_one_out(tmp_path, form):
    settings = node_settings(tmp_path)
    with receiver(settings) as spool:
        with association(settings, is_released=False) as sender:
            send(sender, large(tmp_path), form)
        eventually(lambda: not list(spool.incoming.iterdir()))
        assert states(spool)[0] == {}
        assert echo(settings) == 0
