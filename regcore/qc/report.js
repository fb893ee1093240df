"use strict";
// The page's own script: sorted tables, lazy pictures, the viewer, decisions. No name of a user becomes HTML here.
(() => {
  const one = (query) => document.querySelector(query);
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const data = JSON.parse(one("#data").textContent);
  const keys = data.members.map((member) => member.key);

  // tables: a click on a heading sorts, numbers as numbers, what is missing last
  const valueOf = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const value = Number(text.replace(/,/g, ""));
    return text === "" || text === "–" ? null : Number.isNaN(value) ? text : value;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const rows = all("tbody tr", table).map((row) => [valueOf(row, column), row]);
        rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : (falling ? -1 : 1) * compare(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
        table.closest(".scroll").scrollTop = 0;
      });
    });
  }

  // plots
  let source = null;
  let picked = () => {};
  const drawings = all("script.plot").map((script) =>
    Bokeh.embed.embed_item(JSON.parse(script.textContent), script.dataset.target),
  );
  Promise.all(drawings).then(() => {
    const documents = window.Bokeh ? Bokeh.documents : [];
    source = documents.map((each) => each.get_model_by_name("members")).find((found) => found) || null;
    if (source) source.selected.properties.indices.change.connect(() => picked(source.selected.indices[0]));
    document.documentElement.dataset.ready = "yes";
  });

  const copy = one("#copy");
  if (copy) {
    copy.addEventListener("click", () => {
      getSelection().selectAllChildren(one("#methods-text"));
      document.execCommand("copy");
      one("#copied").textContent = "copied";
    });
  }
  if (!keys.length || !data.sheet) return;

  // pictures: a sheet is decoded when it is first looked at
  const sheets = all("script.sheet");
  const made = new Map();
  const addressOf = (number) => {
    if (!made.has(number)) {
      const bytes = Uint8Array.from(atob(sheets[number].textContent), (letter) => letter.charCodeAt(0));
      made.set(number, URL.createObjectURL(new Blob([bytes], { type: sheets[number].dataset.kind })));
    }
    return `url("${made.get(number)}")`;
  };
  const planes = data.sheet.names.length;
  const slices = data.sheet.positions_mm[0].length;
  const share = (index, count) => (count > 1 ? (100 * index) / (count - 1) : 0);
  const show = (element, number, plane, slice) => {
    element.style.backgroundImage = addressOf(number);
    element.style.backgroundSize = `${100 * slices}% ${100 * planes}%`;
    element.style.backgroundPosition = `${share(slice, slices)}% ${share(plane, planes)}%`;
  };
  const middle = (plane) => Math.round((data.sheet.names[plane] === "axial" ? 0.62 : 0.5) * (slices - 1));
  const fill = (card) => {
    const [tiles] = all(".tiles", card);
    tiles.classList.toggle("one", planes === 1);
    for (let plane = 0; plane < planes; plane += 1) {
      const tile = document.createElement("span");
      tile.className = "tile";
      show(tile, 2 + keys.indexOf(card.dataset.key), plane, middle(plane));
      tile.style.backgroundImage = `${addressOf(1)}, ${tile.style.backgroundImage}`;
      tiles.append(tile);
    }
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((each) => each.isIntersecting)) {
        watcher.unobserve(entry.target);
        fill(entry.target);
      }
    },
    { rootMargin: "300px" },
  );
  all(".card").forEach((card) => watcher.observe(card));

  // viewer
  const viewer = one("#viewer");
  const stage = one("#stage");
  const state = { key: null, plane: 0, slice: middle(0), view: "member", front: true, from: null, timer: null };
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const FLICKER_MS = 550; // below three changes a second, the limit of WCAG 2.3.1
  const memberOf = (key) => data.members[keys.indexOf(key)];

  const planeButtons = data.sheet.names.map((name, plane) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      Object.assign(state, { plane, slice: middle(plane) });
      draw();
    });
    one("#planes").append(button);
    return button;
  });

  const draw = () => {
    if (state.key === null) return;
    const { plane, slice, view } = state;
    show(one("#layer-template"), 0, plane, slice);
    show(one("#layer-outline"), 1, plane, slice);
    show(one("#layer-member"), 2 + keys.indexOf(state.key), plane, slice);
    const front = view === "template" ? false : view === "flicker" ? state.front : true;
    one("#layer-member").style.visibility = front ? "visible" : "hidden";
    one("#layer-member").style.clipPath = view === "swipe" ? `inset(0 ${100 - one("#swipe").value}% 0 0)` : "";
    one("#layer-outline").style.visibility = one("#outlines").checked && view !== "difference" ? "visible" : "hidden";
    stage.classList.toggle("difference", view === "difference");
    one("#swipe-row").hidden = view !== "swipe";
    all(".view").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.view === view)));
    planeButtons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === plane)));
    one("#slice").max = slices - 1;
    one("#slice").value = slice;
    const axis = { axial: "z", coronal: "y", sagittal: "x" }[data.sheet.names[plane]];
    const where = `${axis} = ${data.sheet.positions_mm[plane][slice]} mm`;
    one("#where").textContent = where;
    one("#slice").setAttribute("aria-valuetext", `slice ${slice + 1} of ${slices}, ${where}`);
    const [left, right] = data.sheet.sides[plane];
    one(".side.left").textContent = left;
    one(".side.right").textContent = right;
    one(".what").textContent = { difference: "difference", swipe: "member | template" }[view] || (front ? "member" : "template");
    stage.setAttribute("aria-label", `${state.key}, ${data.sheet.names[plane]} slice ${slice + 1} of ${slices} at ${where}, showing ${view}`);
  };

  const setView = (view) => {
    clearInterval(state.timer);
    Object.assign(state, { view, front: true, timer: null });
    if (view === "flicker" && !calm) {
      state.timer = setInterval(() => {
        state.front = !state.front;
        draw();
      }, FLICKER_MS);
    }
    draw();
  };

  const open = (key, focus = true) => {
    if (!keys.includes(key)) return;
    if (state.key === null) state.from = document.activeElement;
    const member = memberOf(key);
    state.key = key;
    viewer.hidden = false;
    document.body.classList.add("viewing");
    one("#viewer-name").textContent = key;
    one("#viewer-reason").textContent = member.reason ? `weighs ${member.weight}: ${member.reason}` : "";
    one("#values").replaceChildren(
      ...Object.entries(data.columns).map(([name, words]) => {
        const pair = document.createElement("div");
        for (const [kind, text] of [["dt", words], ["dd", member[name] ?? "–"]]) {
          const part = document.createElement(kind);
          part.textContent = text;
          pair.append(part);
        }
        return pair;
      }),
    );
    all("#judged tr, .card").forEach((each) => each.classList.toggle("current", each.dataset.key === key));
    showMark();
    draw();
    if (source) {
      const index = [...source.data.key].indexOf(key);
      if (source.selected.indices[0] !== index) source.selected.indices = index < 0 ? [] : [index];
    }
    if (focus) one("#viewer-name").focus({ preventScroll: true });
  };
  const close = () => {
    setView("member");
    viewer.hidden = true;
    document.body.classList.remove("viewing");
    all("#judged tr, .card").forEach((each) => each.classList.remove("current"));
    state.key = null;
    if (source) source.selected.indices = [];
    if (state.from) state.from.focus({ preventScroll: true });
  };
  // the next member is the next visible row of the table, in the order it is sorted
  const step = (by) => {
    const rows = all("#judged tbody tr").filter((row) => !row.hidden && keys.includes(row.dataset.key));
    const order = rows.length ? rows.map((row) => row.dataset.key) : keys;
    open(order[(order.indexOf(state.key) + by + order.length) % order.length], false);
    all("#judged tr.current").forEach((row) => row.scrollIntoView({ block: "nearest", behavior: "instant" }));
  };
  const slide = (by) => {
    state.slice = Math.min(Math.max(state.slice + by, 0), slices - 1);
    draw();
  };

  all(".card, button.open").forEach((button) => button.addEventListener("click", () => open(button.dataset.key)));
  picked = (index) => {
    if (index !== undefined && source.data.key[index] !== state.key) open(source.data.key[index]);
  };
  one("#previous").addEventListener("click", () => step(-1));
  one("#next").addEventListener("click", () => step(1));
  one("#close").addEventListener("click", close);
  one("#slice").addEventListener("input", (event) => {
    state.slice = Number(event.target.value);
    draw();
  });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    slide(event.deltaY > 0 ? 1 : -1);
  }, { passive: false });
  stage.addEventListener("pointermove", (event) => {
    if (state.view !== "swipe") return;
    const box = stage.getBoundingClientRect();
    one("#swipe").value = (100 * (event.clientX - box.left)) / box.width;
    draw();
  });
  one("#swipe").addEventListener("input", draw);
  one("#outlines").addEventListener("change", draw);
  all(".view").forEach((button) => button.addEventListener("click", () => setView(button.dataset.view)));

  // decisions: what was there before, changed here, downloaded as a whole new table
  const marks = new Map();
  let unsaved = 0;
  for (const { keys: covered, ...row } of data.overrides) covered.forEach((key) => marks.set(key, row));
  const showMark = () => {
    const mark = marks.get(state.key) || { action: "none", preset: "", reason: "" };
    all('input[name="action"]').forEach((input) => (input.checked = input.value === mark.action));
    one("#preset-row").hidden = mark.action !== "retry";
    if (mark.preset) one("#preset").value = mark.preset;
    one("#reason").value = mark.reason || "";
  };
  const listMarks = () => {
    all(".mark").forEach((place) => {
      const mark = marks.get(place.dataset.key);
      place.textContent = mark ? mark.action + (mark.action === "retry" ? ` ${mark.preset}` : "") : "";
      place.className = mark ? `mark ${mark.action}` : "mark";
    });
    const count = marks.size === 1 ? "1 mark" : `${marks.size || "no"} marks`;
    if (one("#marked")) one("#marked").textContent = count + (unsaved ? ", not all downloaded" : "");
  };
  const decide = (action) => {
    if (action === "none") marks.delete(state.key);
    else {
      marks.set(state.key, {
        action,
        preset: action === "retry" ? one("#preset").value : "",
        reason: one("#reason").value,
        who: one("#who") ? one("#who").value : "",
        when: new Date().toISOString().replace(/\.\d+/, ""),
      });
    }
    unsaved += 1;
    showMark();
    listMarks();
  };
  all('input[name="action"]').forEach((input) => input.addEventListener("change", () => decide(input.value)));
  for (const name of ["#preset", "#reason"]) {
    one(name).addEventListener("change", () => {
      const mark = marks.get(state.key);
      if (mark) decide(mark.action);
    });
  }
  const cell = (text) => {
    const plain = String(text || "n/a").replace(/\s+/g, " ").trim();
    return plain.includes('"') ? `"${plain.replace(/"/g, '""')}"` : plain;
  };
  const download = one("#download");
  if (download) {
    download.addEventListener("click", () => {
      const columns = ["action", "preset", "reason", "who", "when"];
      const rows = [...marks].sort(([a], [b]) => compare(a, b));
      const lines = rows.map(([key, mark]) => [key, ...columns.map((name) => cell(mark[name]))].join("\t"));
      const text = [["participant", ...columns].join("\t"), ...lines, ""].join("\n");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
      link.download = "overrides.tsv";
      link.click();
      URL.revokeObjectURL(link.href);
      unsaved = 0;
      listMarks();
    });
  }
  addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });

  const narrow = () => {
    const wanted = one("#find").value.toLowerCase();
    all("#judged tbody tr").forEach((row) => {
      const named = row.dataset.key.toLowerCase().includes(wanted);
      row.hidden = !named || (one("#only").checked && !row.classList.contains("flagged"));
    });
  };
  if (one("#find")) {
    one("#find").addEventListener("input", narrow);
    one("#only").addEventListener("change", narrow);
  }

  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=radio]):not([type=checkbox]), select, textarea");
    if (state.key === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") close();
    else if (typing) return;
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowUp") slide(1);
    else if (event.key === "ArrowDown") slide(-1);
    else if (event.key === " " && !event.target.matches("button, input, summary")) setView(state.view === "template" ? "member" : "template");
    else if (event.key === "f") setView(state.view === "flicker" ? "member" : "flicker");
    else if (event.key === "o") one("#outlines").click();
    else if (planeButtons[Number(event.key) - 1]) planeButtons[Number(event.key) - 1].click();
    else if ({ k: 1, x: 1, r: 1, n: 1 }[event.key]) decide({ k: "keep", x: "exclude", r: "retry", n: "none" }[event.key]);
    else return;
    event.preventDefault();
  });
  listMarks();
})();
