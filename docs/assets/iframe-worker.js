/* A page that is opened from a folder may start no worker: there, a hidden frame does its work. */
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      this.loaded = new Promise(resolve => frame.addEventListener("load", resolve)).then(() => {
        frame.contentWindow.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}));
        return frame.contentWindow;
      });
      frame.hidden = true;
      frame.srcdoc = `<script src="${new URL(url, location)}"></script>`;
      document.body.append(frame);
    }
    async postMessage(data) {
      (await this.loaded).dispatchEvent(new MessageEvent("message", {data}));
    }
  };
}
