// The theme that somebody chose earlier, before anything is drawn. Without a choice the system's counts.
const chosen = localStorage.getItem("dragoman-theme");
if (chosen) document.documentElement.dataset.theme = chosen;
