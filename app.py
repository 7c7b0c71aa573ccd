"""Home: pick or open a record, and see it at a glance."""

from clear_hug import ui
from clear_hug.ui import guard, open_page, st

page = open_page("Home")

built_in, folder, upload = st.columns(3, gap="medium")
with built_in:
    ui.pick_built_in(page)
with folder, guard():
    ui.pick_from_folder(page)
with upload, guard():
    ui.pick_upload()

with guard():
    from clear_hug.plots import plot_ecg

    start, seconds = page.stretch()
    figure = plot_ecg(page.ecg, start, seconds, dark=page.dark)
    ui.show(figure, "overview", f"{page.record.title}: three rows of four leads, and lead II below")

left, right = st.columns(2, gap="large")
with left, guard():
    st.markdown("**The record**")
    st.markdown(ui.bullets(f"{name}: {value}" for name, value in ui.facts(page.ecg).items()))
with right, guard():
    st.markdown("**Most probable**")
    answer = page.diagnosis
    st.markdown(
        ui.bullets(
            f"{page.words(row)}: {answer.probabilities[row]:.0%} "
            f"({'called' if answer.called[row] else 'not called'} at {answer.thresholds[row]:.0%})"
            for row in page.ranking[:3]
        )
    )
    ui.link("4_Diagnosis", "All labels, and what they rest on")
    ui.link("5_Explanation", "Why")
