package attar.app;

import android.content.res.AssetManager;
import android.net.Uri;
import android.webkit.WebResourceRequest;
import android.webkit.WebResourceResponse;
import android.webkit.WebView;
import android.webkit.WebViewClient;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * Answers every request of the page from the package: the files that serving.json lists, by exact name, and 404 for all
 * else. Nothing is left to the network.
 */
final class SiteClient extends WebViewClient {
    final String origin;
    private final AssetManager assets;
    private final JSONObject files;
    private final Map<String, String> headers = new HashMap<>();

    SiteClient(AssetManager assets) throws IOException, JSONException {
        this.assets = assets;
        JSONObject serving = new JSONObject(text(assets.open("serving.json")));
        origin = serving.getString("origin");
        files = serving.getJSONObject("files");
        JSONObject given = serving.getJSONObject("headers");
        for (Iterator<String> names = given.keys(); names.hasNext();) {
            String name = names.next();
            headers.put(name, given.getString(name));
        }
    }

    @Override
    public WebResourceResponse shouldInterceptRequest(WebView view, WebResourceRequest request) {
        Uri url = request.getUrl();
        boolean own = origin.equals(url.getScheme() + "://" + url.getAuthority()) && "GET".equals(request.getMethod());
        JSONObject file = own ? files.optJSONObject(String.valueOf(url.getPath())) : null;
        if (file == null) return missing();
        try {
            InputStream content = assets.open(file.getString("asset"), AssetManager.ACCESS_STREAMING);
            String encoding = file.isNull("encoding") ? null : file.getString("encoding");
            return new WebResourceResponse(file.getString("type"), encoding, 200, "OK", headers, content);
        } catch (IOException | JSONException error) {
            return missing();
        }
    }

    /** Whether the page may not go there: anywhere but its own origin. */
    @Override
    @SuppressWarnings("deprecation") // the newer form calls this one
    public boolean shouldOverrideUrlLoading(WebView view, String url) {
        return !url.startsWith(origin + "/");
    }

    private WebResourceResponse missing() {
        InputStream nothing = new ByteArrayInputStream(new byte[0]);
        return new WebResourceResponse("text/plain", "utf-8", 404, "Not Found", headers, nothing);
    }

    private static String text(InputStream stream) throws IOException {
        try (InputStream in = stream) {
            ByteArrayOutputStream found = new ByteArrayOutputStream();
            byte[] part = new byte[8192];
            for (int count = in.read(part); count >= 0; count = in.read(part)) found.write(part, 0, count);
            return found.toString("UTF-8");
        }
    }
}
