"""Eight senders at once: each image is in the spool, and once."""

from tests.helpers.clinic.campaign.senders import send_at_once, write_images
from tests.helpers.clinic.nodes import node_settings, receiver, states


def test_images_of_eight_senders_are_all_there_and_once(tmp_path):
    settings = node_settings(tmp_path)
    uids = write_images(tmp_path / "sent", 0, 48)
    with receiver(settings) as spool:
        for _ in range(2):  # a unit that did not hear the answers sends again
            _, failures = send_at_once(tmp_path / "sent", settings.receiver.port, "ORTHOEDGE")
            assert failures == []
        assert states(spool)[0] == dict.fromkeys(uids, "received")
        assert len(list(spool.images.iterdir())) == len(uids)
