// Fixed names, one script and one style: the binary embeds them by name.
import { defineConfig } from "vite";

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      input: "index.html",
      output: {
        entryFileNames: "assets/page.js",
        chunkFileNames: "assets/page-[name].js",
        assetFileNames: (asset) => (asset.names[0]?.endsWith(".css") ? "assets/page.css" : "assets/[name][extname]"),
        manualChunks: undefined,
      },
    },
  },
});
