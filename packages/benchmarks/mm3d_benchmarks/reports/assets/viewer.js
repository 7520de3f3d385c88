"use strict";
// A point-cloud viewer in plain canvas: points are projected and written into an image with a depth buffer.
(() => {
  const canvas = document.getElementById("canvas");
  const clouds = JSON.parse(document.getElementById("clouds").textContent);
  if (!canvas || !clouds.length) return;
  const context = canvas.getContext("2d");
  const scan = document.getElementById("scan");
  const modes = document.getElementById("modes");
  const legend = document.getElementById("legend");
  const cut = document.getElementById("cut");
  const size = document.getElementById("size");
  const START = { azimuth: -1.05, elevation: 0.65, zoom: 1, x: 0, y: 0 };
  let view = { ...START };
  let cloud = null;
  let mode = "";
  let pending = false;

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const packed = (r, g, b) => (255 << 24) | (b << 16) | (g << 8) | r;

  function load(entry) {
    const raw = bytes(entry.coord);
    const grid = new Uint16Array(raw.buffer, 0, entry.count * 3);
    const coord = new Float32Array(entry.count * 3);
    for (let i = 0; i < coord.length; i += 1) coord[i] = (grid[i] / 65535 - 0.5) * entry.size[i % 3];
    return { entry, coord, height: entry.size[2], radius: Math.hypot(...entry.size) / 2 || 1, colors: {} };
  }

  function colorsOf(name) {
    if (cloud.colors[name]) return cloud.colors[name];
    const { entry, coord, height } = cloud;
    const out = new Int32Array(entry.count);
    const data = entry.modes[name] ? bytes(entry.modes[name]) : null;
    const palette = entry.palette.map(rgb);
    for (let i = 0; i < entry.count; i += 1) {
      if (name === "height") {
        const t = 0.2 + 0.55 * (coord[3 * i + 2] / (height || 1) + 0.5);
        out[i] = packed(40 + 150 * t, 60 + 130 * t, 90 + 110 * t);
      } else if (name === "color" || name === "statistic") {
        out[i] = packed(data[3 * i], data[3 * i + 1], data[3 * i + 2]);
      } else {
        out[i] = packed(...(palette[data[i]] && data[i] < palette.length - 1 ? palette[data[i]] : palette[palette.length - 1]));
      }
    }
    cloud.colors[name] = out;
    return out;
  }

  function draw() {
    pending = false;
    const scale = Math.min(devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * scale));
    const height = Math.max(1, Math.round(canvas.clientHeight * scale));
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const image = context.createImageData(width, height);
    const pixels = new Int32Array(image.data.buffer).fill(packed(255, 255, 255));
    const depth = new Float32Array(width * height).fill(-Infinity);
    const colors = colorsOf(mode);
    const [ca, sa] = [Math.cos(view.azimuth), Math.sin(view.azimuth)];
    const [ce, se] = [Math.cos(view.elevation), Math.sin(view.elevation)];
    const unit = (0.6 * Math.min(width, height) * view.zoom) / cloud.radius;
    const top = (Number(cut.value) / 100 - 0.5) * cloud.height + 1e-4;
    const dot = Math.max(1, Math.round(Number(size.value) * scale * Math.sqrt(view.zoom)));
    const half = dot >> 1;
    const { coord } = cloud;
    for (let i = 0, j = 0; i < colors.length; i += 1, j += 3) {
      const z = coord[j + 2];
      if (z > top) continue;
      const right = -sa * coord[j] + ca * coord[j + 1];
      const near = ca * coord[j] + sa * coord[j + 1];
      const px = Math.round(width / 2 + view.x * scale + unit * right) - half;
      const py = Math.round(height / 2 + view.y * scale - unit * (ce * z - se * near)) - half;
      const d = ce * near + se * z;
      for (let y = Math.max(0, py); y < Math.min(height, py + dot); y += 1) {
        for (let x = Math.max(0, px); x < Math.min(width, px + dot); x += 1) {
          const k = y * width + x;
          if (d > depth[k]) { depth[k] = d; pixels[k] = colors[i]; }
        }
      }
    }
    context.putImageData(image, 0, 0);
    canvas.dataset.drawn = mode;
  }

  function ask() {
    if (!pending) { pending = true; requestAnimationFrame(draw); }
  }

  function choose(name) {
    mode = name;
    for (const button of modes.children) button.ariaPressed = String(button.dataset.mode === name);
    legend.replaceChildren();
    const add = (color, text, style) => {
      const item = document.createElement("span");
      const patch = document.createElement("i");
      if (color) patch.style.background = color;
      if (style) patch.className = style;
      item.append(patch, text);
      legend.append(item);
    };
    if (name === "label" || name === "prediction") {
      cloud.entry.classes.forEach((text, i) => add(cloud.entry.palette[i], text));
      add(cloud.entry.palette[cloud.entry.palette.length - 1], "unlabeled");
    } else if (name === "statistic") {
      add("", "low to high local statistic", "ramp");
    }
    ask();
  }

  function show(index) {
    cloud = load(clouds[index]);
    size.value = String(cloud.entry.count < 6000 ? 4 : cloud.entry.count < 15000 ? 3 : 2);
    const names = [...["color", "label", "prediction", "statistic"].filter((n) => clouds[index].modes[n]), "height"];
    modes.replaceChildren(...names.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.mode = name;
      button.textContent = name;
      button.addEventListener("click", () => choose(name));
      return button;
    }));
    choose(names.includes(mode) ? mode : names[0]);
  }

  clouds.forEach((entry, i) => scan.add(new Option(`${entry.title} (${entry.count} points)`, i)));
  scan.addEventListener("change", () => show(Number(scan.value)));
  for (const input of [cut, size]) input.addEventListener("input", ask);
  const reset = () => { view = { ...START }; ask(); };
  document.getElementById("reset").addEventListener("click", reset);
  canvas.addEventListener("dblclick", reset);

  const fingers = new Map();
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  const zoom = (factor) => { view.zoom = Math.min(40, Math.max(0.2, view.zoom * factor)); ask(); };
  const turn = (dx, dy) => {
    view.azimuth -= dx;
    view.elevation = Math.min(1.57, Math.max(-1.57, view.elevation + dy));
    ask();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    if (fingers.size === 2) {
      zoom(spread() / (before || 1));
      view.x += dx / 2;
      view.y += dy / 2;
    } else if (event.shiftKey || event.buttons === 2) {
      view.x += dx;
      view.y += dy;
      ask();
    } else {
      turn(dx * 0.008, dy * 0.008);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls past a canvas that nobody touched
    event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0012));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    if (keys[event.key]) turn(...keys[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.15);
    else if (event.key === "-") zoom(1 / 1.15);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(ask).observe(canvas);
  show(0);
})();
