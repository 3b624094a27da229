"""Every view of the clinic's page, and what opens on it."""

VIEWS = ("today", "radiograph/1", "history", "compare/1/2", "agreement", "settings")
"""Of `filled_clinic`."""
FAILED = "radiograph/5"
"""A file that could not be read."""
MISSING = "radiograph/999"
"""A radiograph that there is not."""


def open_print(page):
    """The dialog of the print."""
    page.locator(".radiograph-head .button").last.click()
    page.locator("dialog").wait_for()


def open_opinion(page):
    """The form of an opinion, with all its fields."""
    page.locator(".opinion .segment").nth(1).click()
    page.locator(".opinion textarea").wait_for()


def open_audit(page):
    """The first entries of the audit trail."""
    page.locator(".card").last.locator(".button").click()
    page.locator(".card").last.locator("tbody tr").first.wait_for()


def open_dates(page):
    """The days between which is searched."""
    page.locator(".search select").first.select_option("dates")
    page.locator(".row-choice input").first.check()  # and the place of those that were chosen,
    page.evaluate("scrollTo(0, document.body.scrollHeight)")  # which then lies on no line


def drop_files(page):
    """The bar of an upload that has ended, with a file that could not be read, and messages."""
    page.evaluate(
        """async () => {
            const { uploads } = await import("./core/uploads.js");
            const { toast } = await import("./core/dom.js");
            uploads.add(["a", "b"].map(name => ({ name, file: new File(["no picture"], name) })));
            for (const kind of ["good", "bad"]) toast("word ".repeat(8), kind);
            // Messages let the pointer through: axe-core would take what is below for their ground.
            // So it would for words of two lines: they fit into one here, and not on a narrow page.
            document.getElementById("toasts").style.pointerEvents = "auto";
        }"""
    )
    page.locator(".upload:not([hidden]) progress[hidden]").wait_for(state="attached")


OPENED = (
    ("radiograph/1", open_print),
    ("radiograph/1", open_opinion),
    ("settings", open_audit),
    ("history", open_dates),
    ("today", drop_files),
)
"""A view, and what is opened on it."""
