package attar.app;

import android.app.Activity;
import android.content.ActivityNotFoundException;
import android.content.Intent;
import android.net.Uri;
import android.os.Bundle;
import android.view.Window;
import android.webkit.CookieManager;
import android.webkit.DownloadListener;
import android.webkit.WebSettings;
import android.webkit.WebView;
import java.io.IOException;
import org.json.JSONException;

/** The page in a WebView. It has no bridge to Java, no file access, and no way out but what the person shares. */
public final class SiteActivity extends Activity implements DownloadListener {
    private static final String SAVED = "data:application/json,"; // what the page offers to save
    private WebView page;

    @Override
    protected void onCreate(Bundle state) {
        // Dark where the phone is (API 29); the page asks the theme. The name is newer than the classes compiled against.
        int theme = getResources().getIdentifier("Theme.DeviceDefault.DayNight", "style", "android");
        if (theme != 0) setTheme(theme);
        super.onCreate(state);
        requestWindowFeature(Window.FEATURE_NO_TITLE);
        SiteClient site;
        try {
            site = new SiteClient(getAssets());
        } catch (IOException | JSONException error) {
            throw new IllegalStateException("the package is damaged", error);
        }
        CookieManager.getInstance().setAcceptCookie(false);
        page = new WebView(this);
        WebSettings settings = page.getSettings();
        settings.setJavaScriptEnabled(true);
        settings.setDomStorageEnabled(true); // the chosen language
        settings.setAllowFileAccess(false);
        settings.setAllowContentAccess(false);
        settings.setGeolocationEnabled(false);
        settings.setCacheMode(WebSettings.LOAD_NO_CACHE);
        page.setWebViewClient(site);
        page.setDownloadListener(this);
        setContentView(page);
        page.loadUrl(site.origin + "/");
    }

    /** "Save result": the phone's own share sheet, since the package may write nowhere. */
    @Override
    public void onDownloadStart(String url, String agent, String disposition, String type, long size) {
        if (!url.startsWith(SAVED)) return;
        Intent send = new Intent(Intent.ACTION_SEND).setType("text/plain");
        send.putExtra(Intent.EXTRA_TEXT, Uri.decode(url.substring(SAVED.length())));
        try {
            startActivity(Intent.createChooser(send, null));
        } catch (ActivityNotFoundException error) {
            // nothing on this phone takes a text
        }
    }

    @Override
    protected void onDestroy() {
        page.destroy();
        super.onDestroy();
    }
}
